// Tests and timings of keys and values in 8 and 4 bits.

#include <algorithm>
#include <cstring>

#include "attention.h"

namespace {

struct Code {
  const char* name;
  int codes;
  bool narrow;

  int bytes() const { return 4 + codes / (narrow ? 2 : 1); } // of a block
  double most() const { return narrow ? 15 : 255; }
  // of returns code i of a block.
  int of(const uint8_t* block, int i) const {
    const uint8_t* c = block + 4;
    if (!narrow) return c[i];
    return i < codes / 2 ? c[i] & 15 : c[i - codes / 2] >> 4;
  }
  double value(const uint8_t* block, int i) const { return of(block, i) * decoded(block, F16) + decoded(block + 2, F16); }
};

constexpr Code codes[] = {{"int8_32", 32, false}, {"int8_64", 64, false}, {"int4_32", 32, true}, {"int4_64", 64, true}};

// Coded is one side of a cache, keys or values, [heads, records, headDim blocks],
// with a gap of bytes after each head.
struct Coded {
  Code code;
  int heads, records, headDim;
  int64_t headBytes;
  std::vector<uint8_t> host;
  std::shared_ptr<Memory> memory;

  Coded(const Code& c, int heads, int records, int headDim, int gap)
      : code(c), heads(heads), records(records), headDim(headDim), headBytes(int64_t(records) * headDim * c.bytes() + gap),
        host(heads * headBytes, 0xff) {}

  // block returns the b-th of a head.
  uint8_t* block(int head, int b) { return host.data() + head * headBytes + int64_t(b) * code.bytes(); }
  int tokens() const { return records * code.codes; }
  // number is where an element lies: its block in the record, and its place there.
  void number(bool value, int token, int channel, int& b, int& i) const {
    const int t = token % code.codes, e = t * headDim + channel;
    b = value ? e / code.codes : channel;
    i = value ? e % code.codes : t;
  }
};

unsigned up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

std::string describe(const char* what, Type t, const Coded& c, const std::string& more) {
  return std::string(what) + " " + name(t) + " " + c.code.name + ", " + std::to_string(c.heads) + " heads of " + std::to_string(c.headDim) + ", " +
         std::to_string(c.tokens()) + " tokens" + more;
}

void launchDecode(Type t, const Matrix& k, const Matrix& v, const Coded& ck, const Coded& cv) {
  launch(std::string("dequantise_kv_") + name(t) + "_" + ck.code.name, {up(int64_t(ck.records) * ck.headDim, 256), unsigned(ck.heads), 2}, 128, 0,
         k.at(), v.at(), k.stride, uint64_t(ck.memory->at), uint64_t(cv.memory->at), ck.headBytes, ck.records, ck.headDim);
}

void testDecode(Rng& r, Type t, const Code& code, int headDim, int records, int gap) {
  const int heads = uniform(r, 1, 3);
  std::vector<Coded> sides(2, Coded(code, heads, records, headDim, gap));
  std::vector<double> want[2];
  for (int side = 0; side < 2; side++) {
    Coded& c = sides[side];
    for (int h = 0; h < heads; h++) {
      for (int b = 0; b < records * headDim; b++) {
        uint8_t* p = c.block(h, b);
        for (int i = 4; i < code.bytes(); i++) p[i] = static_cast<uint8_t>(r());
        encode(p, (0.2 + uniform(r, 0, 1000) / 1000.0) / code.most(), F16);
        encode(p + 2, normal(r), F16);
      }
      for (int64_t e = 0; e < int64_t(c.tokens()) * headDim; e++) {
        int b, i;
        c.number(side, e / headDim, e % headDim, b, i);
        want[side].push_back(code.value(c.block(h, e / headDim / code.codes * headDim + b), i));
      }
    }
    c.memory = upload(c.host.data(), c.host.size());
  }
  const int64_t width = int64_t(sides[0].tokens()) * headDim;
  const Matrix k = poisoned(t, heads, width, 8), v = poisoned(t, heads, width, 8);
  launchDecode(t, k, v, sides[0], sides[1]);
  const std::string what = describe("dequantise_kv", t, sides[0], ", gap " + std::to_string(gap));
  near(what + ", keys", read(k), want[0], epsilon(t));
  near(what + ", values", read(v), want[1], epsilon(t));
}

// half rounds as the encoder does.
double half(double x) { return rounded(std::min(std::max(x, -65504.0), 65504.0), F16); }

// checkBlock says what is wrong with a block that should stand for x, or nothing.
std::string checkBlock(const Code& code, const uint8_t* block, const std::vector<double>& x) {
  char text[200] = "";
  const auto range = std::minmax_element(x.begin(), x.end());
  const double least = half(*range.first);
  const double scale = half(std::max(static_cast<float>(*range.second - least), 0.f) / static_cast<float>(code.most()));
  if (decoded(block, F16) != scale || decoded(block + 2, F16) != least) {
    snprintf(text, sizeof text, "scale %g and minimum %g, want %g and %g", decoded(block, F16), decoded(block + 2, F16), scale, least);
    return text;
  }
  for (int i = 0; i < code.codes; i++) {
    const double exact = scale > 0 ? std::min(std::max((x[i] - least) / scale, 0.0), code.most()) : 0;
    if (std::fabs(code.of(block, i) - exact) > 0.5 + 1e-4) {
      snprintf(text, sizeof text, "number %d, %g, has code %d, want %g rounded", i, x[i], code.of(block, i), exact);
      return text;
    }
  }
  return "";
}

void testEncode(Rng& r, Type t, const Code& code, int headDim, int records, int pieces, int gap) {
  const int heads = uniform(r, 1, 3), tokens = records * code.codes;
  const std::vector<int> lengths = cut(r, tokens, pieces);
  std::vector<Matrix> runs[2];
  std::vector<Coded> sides(2, Coded(code, heads, records, headDim, gap));
  for (Coded& c : sides) c.memory = upload(c.host.data(), c.host.size());
  std::vector<uint64_t> words = {sides[0].memory->at, sides[1].memory->at, word(sides[0].headBytes), word(headDim), word(pieces)};
  int n = 0;
  // Beside ordinary numbers, channels and blocks of one value, of very small ones, and of some that f16 does not have.
  auto number = [&] {
    const int channel = n++ % headDim, kind = channel / 8 % 8;
    const double z = normal(r);
    return kind == 1 ? 1.0 + channel / 1024.0 : kind == 2 ? z * 1e-7 : kind == 3 && t == BF16 && channel % 8 == 5 ? z * 1e5 : z + channel % 5;
  };
  for (int p = 0; p < 4; p++) {
    if (p >= pieces) {
      words.insert(words.end(), {0, 0, word(-7), word(-7)});
      continue;
    }
    const int apart = 8 * uniform(r, 0, 3);
    for (auto& side : runs) side.push_back(put(t, heads, int64_t(lengths[p]) * headDim, apart, number));
    words.insert(words.end(), {runs[0][p].at(), runs[1][p].at(), word(lengths[p]), word(runs[0][p].stride)});
  }
  launchWords(std::string("quantise_kv_") + name(t) + "_" + code.name, {unsigned(records), unsigned(heads), 2 * up(headDim, 128)}, 128, 0, words);
  synchronize();
  for (int side = 0; side < 2; side++) {
    Coded& c = sides[side];
    CHECK(cuMemcpyDtoH(c.host.data(), c.memory->at, c.host.size()));
    std::vector<std::vector<double>> blocks(heads * records * headDim, std::vector<double>(code.codes));
    int before = 0;
    for (const Matrix& m : runs[side]) {
      for (size_t e = 0; e < m.v.size(); e++) {
        const int head = e / m.cols, token = before + e % m.cols / headDim, channel = e % headDim;
        int b, i;
        c.number(side, token, channel, b, i);
        blocks[(head * records + token / code.codes) * headDim + b][i] = m.v[e];
      }
      before += m.cols / headDim;
    }
    std::string wrong;
    for (size_t b = 0; b < blocks.size() && wrong.empty(); b++) {
      wrong = checkBlock(code, c.block(b / (records * headDim), b % (records * headDim)), blocks[b]);
      if (!wrong.empty()) wrong = "block " + std::to_string(b) + ": " + wrong;
    }
    for (int h = 0; h < heads; h++) {
      const uint8_t* end = c.host.data() + (h + 1) * c.headBytes;
      if (std::any_of(end - gap, end, [](uint8_t x) { return x != 0xff; })) wrong = "the gap after head " + std::to_string(h) + " was written";
    }
    record(describe("quantise_kv", t, c, " in " + std::to_string(pieces) + " pieces" + (side ? ", values" : ", keys")), wrong.empty(), wrong);
  }
}

// Timed has sets of keys and values and of their codes, of which a call takes
// one after another, so that it does not find its own in the cache.
struct Timed {
  static constexpr int heads = 8, headDim = 128;
  Code code;
  int tokens, turn = 0;
  std::vector<Matrix> k, v;
  std::vector<std::shared_ptr<Memory>> coded; // keys, then values

  Timed(const Code& code, int tokens, int sets) : code(code), tokens(tokens) {
    const int64_t width = int64_t(tokens) * headDim;
    for (int i = 0; i < 2 * sets; i++) {
      const Matrix m = poisoned(BF16, heads, width, 0);
      launch("random_bf16", {up(m.cols, 256), unsigned(heads)}, 128, 0, m.at(), m.stride, m.rows, m.cols, int64_t(i), 0.0, 1.0);
      (i < sets ? k : v).push_back(m);
    }
    for (int i = 0; i < sets; i++) {
      coded.push_back(std::make_shared<Memory>(2 * heads * headBytes()));
      CHECK(cuMemsetD8(coded[i]->at, 0x31, coded[i]->bytes)); // f16 that are numbers, whatever the codes
    }
  }

  int records() const { return tokens / code.codes; }
  int64_t headBytes() const { return int64_t(records()) * headDim * code.bytes(); }

  // print times f, which is given a set, its keys' codes and its values'.
  void print(const char* kernel, double limit, const std::function<void(int, uint64_t, uint64_t)>& f) {
    char what[160];
    snprintf(what, sizeof what, "%s bf16 %s, %d heads of %d, %d tokens", kernel, code.name, heads, headDim, tokens);
    const auto next = [&] {
      const int i = turn++ % int(k.size());
      f(i, coded[i]->at, coded[i]->at + heads * headBytes());
    };
    rate(what, milliseconds(next, 20), 2.0 * heads * (2.0 * tokens * headDim + headBytes()), limit);
  }
};

}  // namespace

void testCodes(Rng& r, bool small) {
  for (Type t : activationTypes) {
    for (const Code& code : codes) {
      for (int headDim : {32, 64, 96, 128, 192, 224, 256}) {
        if (headDim % code.codes) continue;
        // Heads one after another, 16 bytes apart, and at addresses that suit single words alone.
        for (int gap : {0, 16, 4 * uniform(r, 1, 3)}) testDecode(r, t, code, headDim, uniform(r, 1, small ? 3 : 20), gap);
        for (int pieces = 1; pieces <= 4; pieces++) {
          testEncode(r, t, code, headDim, uniform(r, 1, small ? 3 : 12), pieces, 4 * uniform(r, 0, 5));
        }
      }
    }
  }
}

void benchmarkCodes(double limit) {
  for (const Code& code : codes) {
    if (code.codes != 64) continue;
    Timed large(code, 131072, 1), chunk(code, 8192, 6);
    large.print("dequantise_kv", limit, [&](int i, uint64_t codedK, uint64_t codedV) {
      launch(std::string("dequantise_kv_bf16_") + code.name, {up(int64_t(large.records()) * large.headDim, 256), large.heads, 2}, 128, 0, large.k[i].at(),
             large.v[i].at(), large.k[i].stride, codedK, codedV, large.headBytes(), large.records(), large.headDim);
    });
    chunk.print("quantise_kv", limit, [&](int i, uint64_t codedK, uint64_t codedV) {
      std::vector<uint64_t> words = {codedK, codedV, word(chunk.headBytes()), word(chunk.headDim), word(1), chunk.k[i].at(), chunk.v[i].at(),
                                     word(chunk.tokens), word(chunk.k[i].stride)};
      words.resize(5 + 4 * 4);
      launchWords(std::string("quantise_kv_bf16_") + code.name, {unsigned(chunk.records()), chunk.heads, 2}, 128, 0, words);
    });
  }
}
