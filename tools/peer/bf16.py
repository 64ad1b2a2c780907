"""Writes a copy of a GGUF file with its matrices in bf16, to compare programs on weights that are not quantised.

    python tools/peer/bf16.py models/SmolLM2-135M-Instruct.Q4_1.gguf models/SmolLM2-135M-Instruct.BF16.gguf

needs the gguf package. What is quantised is decoded and rounded to bf16; vectors and everything else stay as they are.
"""

import argparse

import gguf

MOSTLY_BF16 = gguf.LlamaFileType.MOSTLY_BF16


def copy_fields(reader, writer):
    """The metadata, but for what the writer has of itself."""
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        of = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=of)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("target")
    args = parser.parse_args()
    reader = gguf.GGUFReader(args.source)
    writer = gguf.GGUFWriter(args.target, reader.fields["general.architecture"].contents())
    copy_fields(reader, writer)
    writer.add_file_type(MOSTLY_BF16)
    bf16 = gguf.GGMLQuantizationType.BF16
    for tensor in reader.tensors:
        if len(tensor.shape) == 1:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
            continue
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, gguf.quants.quantize(values, bf16), raw_dtype=bf16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
