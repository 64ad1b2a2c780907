package main

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// border is the number of the streaming_heads file from which on a head sees
// everything.
const border = 0.5

// scoresOf numbers the heads by the order of their damage, [layers, KV heads]:
// the least damaging share of all below the border, the others from there up to
// 1. It counts those below.
func scoresOf(damage [][]float64, share float64) (scores [][]float64, streaming int) {
	type head struct{ layer, head int }
	var order []head
	for l, heads := range damage {
		scores = append(scores, make([]float64, len(heads)))
		for h := range heads {
			order = append(order, head{l, h})
		}
	}
	slices.SortStableFunc(order, func(a, b head) int {
		return cmp.Compare(damage[a.layer][a.head], damage[b.layer][b.head])
	})
	const rounding = 1e-9 // 0.7 of 10 are 7
	streaming = int(share*float64(len(order)) + rounding)
	for rank, at := range order {
		score := border * float64(rank) / float64(streaming)
		if rank >= streaming {
			score = border + (1-border)*float64(rank-streaming+1)/float64(len(order)-streaming)
		}
		scores[at.layer][at.head] = math.Floor(score*1e4) / 1e4
	}
	return scores, streaming
}

// headLines writes a line for each layer with a number for each KV head.
func headLines(scores [][]float64) string {
	var out strings.Builder
	for _, heads := range scores {
		for h, score := range heads {
			if h > 0 {
				out.WriteByte('\t')
			}
			out.WriteString(strconv.FormatFloat(score, 'f', -1, 64))
		}
		out.WriteByte('\n')
	}
	return out.String()
}
