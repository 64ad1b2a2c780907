// One attention problem, and how each kernel is launched on it.
#pragma once

#include "harness.h"

enum Kernel { PREFILL, DECODE, GENERIC };

struct Problem {
  Type t;
  int headDim, rows, kvHeads, group;
  bool causal, merge, floatOut;
  double scale;
  Matrix q, out, lse;
  struct Piece {
    int tokens;
    Matrix k, v; // [kvHeads, tokens*headDim]
  };
  std::vector<Piece> pieces;

  int heads() const { return kvHeads * group; }
  int keys() const;
};

// shape has what a problem is made from.
struct Shape {
  Type t;
  int headDim, rows, kvHeads, group;
  std::vector<int> tokens;
  bool causal, merge, floatOut;
};

// makeProblem draws inputs; device-only problems are filled by a kernel and
// their values are not known to the host.
Problem makeProblem(Rng& r, const Shape& s, bool onDevice);

// attend launches a kernel; splits is for DECODE, and chosen if it is 0.
void attend(const Problem& p, Kernel k, int splits = 0);
int goodSplits(const Problem& p);
