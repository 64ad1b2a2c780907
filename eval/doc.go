// Package eval makes questions with known answers about long texts, and scores what a model answers: a needle in a
// haystack, and the tasks of RULER (Hsieh et al., 2024) under their names; and it reads the questions of LongBench v2
// (Bai et al., 2024) and SCBench (Li et al., 2024) from files that the user has.
//
// A [Sample] is a text, a question, and the strings that a right answer holds. [Generator.Sample] makes one of an asked
// length in the model's own tokens; it depends on its arguments, the tokenizer and, for qa, the user's file alone: the
// same give the same bytes on every machine. The facts are stated and asked for in plain sentences, those that the
// built-in model was trained on. [Read] gives the samples of a file as it has them: no text is shortened or changed.
//
// [Score] compares an answer as the task's [Metric] says; [F1] as SQuAD does. Nothing here knows a model or a device.
//
// A [Picture] draws figures as SVG and PNG, for a wide and a narrow screen: [HeatMap] scores by depth and length, [Curves]
// times against the length, [Stacks] wholes and their parts, [Roofline] work against bytes, [Lanes] what ran when, and
// [Flow] boxes and arrows. Package report makes a page of them.
package eval
