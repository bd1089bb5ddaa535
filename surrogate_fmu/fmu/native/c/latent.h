/* The latent stream: z as a pure function of (seed, step index), bit-equal to surrogate_fmu/runtime/latent.py. */
#ifndef SF_LATENT_H
#define SF_LATENT_H

#include <stdint.h>

enum sf_stream { SF_RUN_STREAM, SF_STEP_STREAM };

/* The most normals of one call. */
enum { SF_NORMALS_MOST = 64 };

/* Words first_word, first_word + 1, ... of a stream. */
void sf_words(int64_t seed, enum sf_stream stream, uint64_t first_word, int32_t count, uint64_t *words);

/* The standard normal of each word. */
void sf_normals_from_words(const uint64_t *words, int32_t count, float *normals);

#endif
