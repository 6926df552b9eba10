/*
 * ggml_dequantize.c - decode blocks by ggml's own code: TYPE_NUMBER as argument, blocks on standard
 * input, F32 values on standard output. For make_gguf_block_vectors.py, built outside of this tree:
 *
 *     cc -o ggml_dequantize -I LLAMA_CPP/ggml/include tests/oracle/ggml_dequantize.c \
 *         BUILD/ggml/src/libggml-base.a -lstdc++ -lm -lpthread -ldl -fopenmp
 */
#include <ggml.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    enum ggml_type type = argc == 2 ? (enum ggml_type)atoi(argv[1]) : GGML_TYPE_COUNT;
    const struct ggml_type_traits *traits = ggml_get_type_traits(type);
    static unsigned char blocks[1 << 20];
    static float values[1 << 22];
    size_t n = fread(blocks, 1, sizeof(blocks), stdin) / traits->type_size;

    if (!traits->to_float || n * (size_t)traits->blck_size > sizeof(values) / sizeof(*values))
        return 1;
    traits->to_float(blocks, values, (int64_t)n * traits->blck_size);
    return fwrite(values, sizeof(float) * (size_t)traits->blck_size, n, stdout) == n ? 0 : 1;
}
