// One attention problem, and how each kernel is launched on it.
#pragma once

#include "harness.h"

enum Kernel { PREFILL, DECODE, GENERIC, HOPPER, LONG }; // LONG is DECODE for many keys

struct Problem {
  Type t;
  int headDim, rows, kvHeads, group;
  bool causal, merge, floatOut;
  int window; // 0: none
  double cap; // 0: none
  double scale;
  Matrix q, out, lse;
  struct Piece {
    int tokens;
    Matrix k, v; // [kvHeads, tokens*headDim]
  };
  std::vector<Piece> pieces;

  int heads() const { return kvHeads * group; }
  int keys() const;
  bool bounded() const { return window > 0 || cap > 0; }
  // A row sees keys from … to-1.
  int from(int row) const;
  int to(int row) const;
};

// shape has what a problem is made from.
struct Shape {
  Type t;
  int headDim, rows, kvHeads, group;
  std::vector<int> tokens;
  bool causal, merge, floatOut;
  int window = 0;
  double cap = 0;
  bool gaps = true; // between heads of keys and values, of odd multiples of 16 bytes; caches have none
};

// makeProblem draws inputs; device-only problems are filled by a kernel and
// their values are not known to the host.
Problem makeProblem(Rng& r, const Shape& s, bool onDevice);

// haveHopper says whether the images hold the kernels of compute capability
// 9.0a, which are for bf16 and a head_dim of 64 or 128.
bool haveHopper();

// haveLong says whether LONG has been compiled for a head_dim and a block's shared memory holds its ring.
bool haveLong(Type t, int headDim);

// attentionWords are the arguments that all kernels begin with, for the pieces there are.
std::vector<uint64_t> attentionWords(const Problem& p);
// attend launches a kernel; splits is for DECODE and LONG, and chosen if it is 0. Early, they may begin before the kernel ahead has ended.
void attend(const Problem& p, Kernel k, int splits = 0, bool early = false);
// faster is which of DECODE and LONG a problem by itself is for, and how its keys are divided then.
std::pair<Kernel, int> faster(const Problem& p);

using List = std::vector<const Problem*>;
// attendList launches DECODE once on up to 64 problems of a type and a head_dim; splits has those of each, or is empty.
void attendList(const List& list, std::vector<int> splits = {}, bool early = false);
// goodSplits divides the keys of problems that are launched together.
std::vector<int> goodSplits(const List& list);

// cut divides keys between pieces at random places; some may be empty.
std::vector<int> cut(Rng& r, int keys, int pieces);
// expected computes a problem's results on the host, [rows, heads*headDim] and [heads, rows].
struct Expected {
  std::vector<double> out, lse;
};
Expected expected(const Problem& p);
// testCase compares a kernel with the host. With unread, the first piece has NaN on the device, as no row's window reaches it.
void testCase(Rng& r, Kernel k, const Shape& s, int splits, bool unread = false);
// testLarge compares a kernel with the generic one: the keys in one call and, without a window, in several calls that merge.
void testLarge(Rng& r, Kernel k, const Shape& s);
std::string describe(Kernel k, const Shape& s, int splits);
// testLong tests LONG.
void testLong(Rng& r, Type t, int headDim, bool small);
// testLists tests DECODE on lists of problems.
void testLists(Rng& r, bool small);
// timePrefillInTurns prints what kernels for many rows take on the same problem: medians of
// rounds in which they take turns, each after a rest.
void timePrefillInTurns(Rng& r, const std::vector<Kernel>& kernels, const Shape& s);
// bounds is what a title says of a window and a cap.
std::string bounds(const Shape& s);
