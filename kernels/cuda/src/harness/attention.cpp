#include "attention.h"

#include <algorithm>
#include <cstring>

constexpr int longShared = 196608; // bytes

static unsigned up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

int Problem::keys() const {
  int n = 0;
  for (const Piece& p : pieces) n += p.tokens;
  return n;
}

int Problem::to(int row) const { return causal ? std::max(0, keys() - rows + row + 1) : keys(); }
int Problem::from(int row) const { return window > 0 ? std::max(0, to(row) - window) : 0; }

static Matrix filled(Rng& r, Type t, int64_t rows, int64_t cols, int64_t gap, bool onDevice) {
  if (!onDevice) return randomMatrix(r, t, rows, cols, gap);
  const Matrix m = poisoned(t, rows, cols, gap);
  if (rows * cols == 0) return m;
  launch(std::string("random_") + name(t), {up(cols, 256), static_cast<unsigned>(std::min<int64_t>(rows, 65535))}, 128, 0, m.at(), m.stride,
         rows, cols, int64_t(r()), 0.0, 1.0);
  return m;
}

Problem makeProblem(Rng& r, const Shape& s, bool onDevice) {
  Problem p{s.t, s.headDim, s.rows, s.kvHeads, s.group, s.causal, s.merge, s.floatOut, s.window, s.cap, 1 / std::sqrt(s.headDim), {}, {}, {}, {}};
  const int width = p.heads() * s.headDim;
  const Type result = s.floatOut ? F32 : s.t;
  p.q = filled(r, s.t, s.rows, width, 8 * uniform(r, 0, 3), onDevice);
  if (s.merge) {
    p.out = filled(r, result, s.rows, width, 4, onDevice);
    p.lse = filled(r, F32, p.heads(), s.rows, 1, onDevice);
    if (!onDevice) {
      // As large as the log-sum-exp of the keys here, so that both sides count.
      const double level = std::log(std::max(1, p.keys()));
      p.lse = put(F32, p.heads(), s.rows, 1, [&] { return level + normal(r); });
    }
  } else {
    p.out = poisoned(result, s.rows, width, 4);
    p.lse = poisoned(F32, p.heads(), s.rows, 1);
  }
  for (int tokens : s.tokens) {
    const int gap = s.gaps ? 8 * uniform(r, 0, 3) : 0;
    p.pieces.push_back({tokens, filled(r, s.t, s.kvHeads, int64_t(tokens) * s.headDim, gap, onDevice),
                        filled(r, s.t, s.kvHeads, int64_t(tokens) * s.headDim, gap, onDevice)});
  }
  return p;
}

bool haveLong(Type t, int headDim) {
  return haveKernel(std::string("attention_decode_long_") + name(t) + "_hd" + std::to_string(headDim)) && sharedBytes() >= longShared;
}

bool haveHopper() { return haveKernel("attention_hopper_bf16_hd128"); }

// units is how many blocks of rows and heads share no keys or rows.
static int units(const Problem& p) { return p.kvHeads * up(p.rows * p.group, 64); }

static int seen(const Problem& p) { return p.window > 0 ? std::min(p.keys(), p.window + p.rows - 1) : p.keys(); }

std::vector<int> goodSplits(const List& list) {
  const int slots = 2 * multiprocessors();
  int whole = 0, apart = 256, most = apart; // keys a block
  for (const Problem* p : list) {
    whole += units(*p);
    most = std::max(most, seen(*p));
  }
  auto splits = [&](const Problem* p, int keys) { return std::min(std::max(1, static_cast<int>(up(seen(*p), keys))), slots / 2); };
  auto blocks = [&](int keys) {
    int n = 0;
    for (const Problem* p : list) n += units(*p) * splits(p, keys);
    return n;
  };
  const int room = whole <= slots ? slots : whole + slots / 2;
  while (apart < most) {
    const int middle = (apart + most) / 2;
    blocks(middle) <= room ? most = middle : apart = middle + 1;
  }
  std::vector<int> n;
  for (const Problem* p : list) n.push_back(splits(p, most));
  return n;
}

// whole rounds many splits down to a number that is joined without a rest.
static int whole(int splits) { return splits < 32 ? splits : splits / 8 * 8; }

std::pair<Kernel, int> faster(const Problem& p) {
  const int splits = whole(multiprocessors() / p.kvHeads);
  const bool many = int64_t(p.kvHeads) * p.keys() >= 768 * multiprocessors(), fills = 16 * p.kvHeads * splits >= 15 * multiprocessors();
  if (haveLong(p.t, p.headDim) && !p.bounded() && p.rows * p.group <= 32 && many && fills) return {LONG, splits};
  return {DECODE, whole(goodSplits({&p})[0])};
}

static int64_t flagsOf(const Problem& p) { return (p.causal ? 1 : 0) | (p.merge ? 2 : 0) | (p.floatOut ? 4 : 0); }

std::vector<uint64_t> attentionWords(const Problem& p) {
  std::vector<uint64_t> words = {p.q.at(),          word(p.q.stride), p.out.at(),       word(p.out.stride), p.lse.at(), word(p.lse.stride), word(p.rows),
                                 word(p.group), word(p.scale),    word(flagsOf(p)), word(int(p.pieces.size()))};
  for (size_t i = 0; i < 4; i++) {
    if (i < p.pieces.size()) {
      const Problem::Piece& piece = p.pieces[i];
      words.insert(words.end(), {piece.k.at(), piece.v.at(), word(piece.tokens), word(piece.k.stride)});
    } else {
      words.insert(words.end(), {word(int64_t(0)), word(int64_t(0)), word(int64_t(-7)), word(int64_t(-7))});
    }
  }
  return words;
}

// workspace returns at least so many bytes for DECODE. They are kept, so that timed calls don't allocate, to the end: when
// statics are destroyed there is no context any more.
static uint64_t workspace(size_t bytes) {
  static Memory* kept = nullptr;
  if (!kept || kept->bytes != bytes) {
    synchronize();
    delete kept;
    kept = new Memory(bytes);
  }
  return kept->at;
}

// attendByKeys launches the kernels for a list, or those for one problem: DECODE or LONG.
static void attendByKeys(const List& list, const std::vector<int>& splits, bool asList, Kernel kernel, bool early) {
  constexpr size_t most = 64, problemWords = 31;
  const Problem& one = *list[0];
  bool bounded = false;
  int64_t blocks = 0, results = 0, rows = 0;
  std::vector<uint64_t> firstBlock, firstRow, problems;
  for (size_t i = 0; i < list.size(); i++) {
    const Problem& p = *list[i];
    bounded = bounded || p.bounded();
    firstBlock.push_back(word(blocks));
    firstRow.push_back(word(rows));
    const std::vector<uint64_t> words = attentionWords(p);
    problems.insert(problems.end(), words.begin(), words.end());
    problems.insert(problems.end(), {word(p.window), word(p.cap), word(splits[i]), word(results)});
    blocks += int64_t(units(p)) * splits[i];
    if (splits[i] == 1) continue; // takes nothing of the workspace
    rows += int64_t(p.heads()) * p.rows;
    results += int64_t(p.heads()) * p.rows * splits[i];
  }
  const std::string kind = asList ? "list_" : "";
  const uint64_t partial = workspace(results * (one.headDim + 1) * 4);
  auto words = [&](std::vector<uint64_t> first) {
    std::vector<uint64_t> all;
    if (asList) {
      all.push_back(word(int64_t(list.size())));
      first.resize(most, ~uint64_t(0));
      problems.resize(most * problemWords, ~uint64_t(0));
      all.insert(all.end(), first.begin(), first.end());
    }
    all.insert(all.end(), problems.begin(), problems.end());
    all.insert(all.end(), {partial, partial + results * one.headDim * 4});
    return all;
  };
  const bool isLong = kernel == LONG;
  launchWords("attention_decode_" + kind + (isLong ? "long_" : "") + name(one.t) + "_hd" + std::to_string(one.headDim) + (bounded ? "_capped" : ""),
              {static_cast<unsigned>(blocks)}, isLong ? 256 : 128, isLong ? longShared : one.headDim == 64 ? 65536 : 98304, words(firstBlock), early);
  if (rows == 0) return;
  std::vector<uint64_t> combined = words(firstRow);
  if (isLong && splits[0] <= 16) {
    launchWords(std::string("attention_combine_rows_") + name(one.t), {static_cast<unsigned>(rows)}, 32, 0, combined, true);
    return;
  }
  combined.push_back(word(one.headDim));
  int threads = rows <= multiprocessors() ? 256 : 128;
  if (isLong) threads = std::min<int>(threads, one.headDim / 4 * up(splits[0], 8));
  launchWords("attention_combine_" + kind + name(one.t), {static_cast<unsigned>(rows)}, threads, 0, combined, true);
}

// tensorMap is how the Hopper kernels copy keys or values of a piece: the README's "maps".
static CUtensorMap tensorMap(const Problem& p, const Matrix& m, int tokens) {
  CUtensorMap map = {};
  if (tokens == 0) return map; // never looked at
  const uint64_t headDim = p.headDim, size[] = {headDim, static_cast<uint64_t>(tokens), static_cast<uint64_t>(p.kvHeads)};
  const uint64_t bytes[] = {2 * headDim, 2 * static_cast<uint64_t>(m.stride)};
  const uint32_t box[] = {64, p.headDim == 64 ? 64u : 128u, 1}, steps[] = {1, 1, 1};
  CHECK(cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, reinterpret_cast<void*>(m.at()), size, bytes, box, steps,
                               CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                               CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
  return map;
}

// withMaps puts maps of the keys, then of the values, before the words of a problem.
static std::vector<uint64_t> withMaps(const Problem& p, const std::vector<uint64_t>& words) {
  constexpr size_t maxPieces = 4;
  std::vector<uint64_t> all(2 * maxPieces * sizeof(CUtensorMap) / sizeof(uint64_t));
  auto put = [&](size_t at, const CUtensorMap& map) { memcpy(reinterpret_cast<uint8_t*>(all.data()) + at * sizeof map, &map, sizeof map); };
  for (size_t i = 0; i < p.pieces.size(); i++) {
    put(i, tensorMap(p, p.pieces[i].k, p.pieces[i].tokens));
    put(maxPieces + i, tensorMap(p, p.pieces[i].v, p.pieces[i].tokens));
  }
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

void attend(const Problem& p, Kernel kernel, int splits, bool early) {
  std::vector<uint64_t> words = attentionWords(p);
  const std::string t = name(p.t), hd = "_hd" + std::to_string(p.headDim) + (p.bounded() ? "_capped" : "");
  if (kernel == GENERIC || p.bounded()) words.insert(words.end(), {word(p.window), word(p.cap)});
  const unsigned kvHeads = p.kvHeads, packed = p.rows * p.group;
  if (kernel == GENERIC) {
    words.push_back(word(p.headDim));
    return launchWords("attention_generic_" + t, {static_cast<unsigned>(p.rows), static_cast<unsigned>(p.heads())}, 128, 0, words);
  }
  if (kernel == PREFILL) {
    const int M = p.headDim > 128 ? 64 : 128;
    const unsigned shared = p.headDim <= 96 ? 49152 : 65536;
    return launchWords("attention_prefill_" + t + hd, {up(packed, M), kvHeads}, 128, shared, words);
  }
  if (kernel == HOPPER) {
    const int M = p.headDim == 128 ? 128 : 192;
    const unsigned shared = p.headDim == 128 ? 164928 : 124000;
    const unsigned blocks = 2 * up(packed, 2 * M); // clusters of two
    return launchWords("attention_hopper_" + t + hd, {blocks, kvHeads}, p.headDim == 128 ? 384 : 512, shared, withMaps(p, words));
  }
  if (splits == 0) splits = kernel == LONG ? multiprocessors() / p.kvHeads : whole(goodSplits({&p})[0]);
  attendByKeys({&p}, {splits}, false, kernel, early);
}

void attendList(const List& list, std::vector<int> splits, bool early) {
  attendByKeys(list, splits.empty() ? goodSplits(list) : splits, true, DECODE, early);
}
