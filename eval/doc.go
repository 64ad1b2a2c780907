// Package eval makes questions with known answers about long texts, and scores what a model answers: a needle in a
// haystack, and the tasks of RULER (Hsieh et al., 2024) under their names.
//
// A [Sample] is a text of an asked length in the model's own tokens, a question, and the strings that a right answer
// holds. [Generator.Sample] depends on its arguments, the tokenizer and, for qa, the user's file alone: the same give the
// same bytes on every machine. The facts are stated and asked for in plain sentences, those that the built-in model
// was trained on.
//
// Nothing here knows a model or a device. [HeatMap] draws scores by depth and length as SVG and PNG.
package eval
