/* The latent stream: z as a pure function of (seed, step index), bit-equal to surrogate_fmu/runtime/latent.py. */
#ifndef SF_LATENT_H
#define SF_LATENT_H

#include <stdint.h>

enum sf_stream { SF_RUN_STREAM, SF_STEP_STREAM };

/* Standard normals of words first_word, first_word + 1, ... of a stream. */
void sf_normals(int64_t seed, enum sf_stream stream, uint64_t first_word, int32_t count, float *normals);

/* The normal of one 64-bit word. */
float sf_normal_from_word(uint64_t word);

#endif
