/* What every fuzz target shares. A target is one file fuzz_<name>.c that defines fuzz_one(): it
 * takes one input and asserts properties of what the code made of it. fuzz.c makes of it the entry
 * that libFuzzer calls; without libFuzzer, replay.c calls it for files. Inputs are bounded by
 * FUZZ_INPUT_MAX, whoever makes them. */
#ifndef STOWAGE_TESTS_FUZZ_H
#define STOWAGE_TESTS_FUZZ_H

#include <assert.h>

#include "base/buf.h"
#include "base/digest.h"
#include "blobstore/store.h"

#define FUZZ_INPUT_MAX (256u << 10)

/* The target. Called any number of times in one process; input lies in memory of exactly its
 * length. */
void fuzz_one(struct str input);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes the next bytes of an input; zeros once it has ended. */
uint8_t fuzz_u8(struct str *in);
uint64_t fuzz_u64(struct str *in);
/* Takes the bytes before the next line feed, and that. */
struct str fuzz_line(struct str *in);

/* Changes bytes as a list of (place, value) in edits says, three bytes each; true when at least one
 * byte is another one than before. */
bool fuzz_edit(struct buf *bytes, struct str edits);

bool fuzz_has_nul(struct str s);
/* A copy with a NUL behind it, to be freed. */
char *fuzz_text(struct str s);

/* POSIX extended expression, anchored by the target; compiled once for each place that calls. */
struct fuzz_regex;
bool fuzz_matches(struct fuzz_regex **regex, const char *expression, struct str s);

/* Ends the program: something that has nothing to do with the input went wrong. */
void fuzz_need(int err, const char *what);

#endif
