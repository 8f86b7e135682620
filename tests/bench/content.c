/*
 * Bodies and manifests. A content is a pseudo-random block repeated to the wanted size, ended by
 * CONTENT_TAIL bytes that carry its number; the digest state before the tail is kept, so the
 * digest of any number costs one hash block. No compressor or dedup of a server finds use for it
 * across numbers, since whole blobs differ.
 */
#include "load.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_BYTES (8 + 2) /* "8000\r\n" and "\r\n", rounded up */
#define FRAMED_MAX  (CONTENT_BLOCK + (CONTENT_BLOCK / CONTENT_CHUNK) * FRAME_BYTES)

struct content {
    uint64_t bytes;
    uint64_t salt;
    uint64_t blocks;   /* whole blocks before the rest */
    size_t rest;       /* bytes of the block between them and the tail */
    size_t framed_len; /* of one block as chunks */
    size_t rest_framed_len;
    EVP_MD_CTX *before_tail;
    char block[CONTENT_BLOCK];
    char framed[FRAMED_MAX];
    char rest_framed[FRAMED_MAX];
};

static size_t frame(char *ret, const char *at, size_t len)
{
    size_t out = 0;

    for (size_t done = 0; done < len;) {
        size_t n = len - done < CONTENT_CHUNK ? len - done : CONTENT_CHUNK;
        out += (size_t)snprintf(ret + out, FRAME_BYTES, "%zx\r\n", n);
        memcpy(ret + out, at + done, n);
        memcpy(ret + out + n, "\r\n", 2);
        out += n + 2;
        done += n;
    }
    return out;
}

struct content *content_new(uint64_t bytes, uint64_t salt)
{
    struct content *c = calloc(1, sizeof(*c));
    if (!c || bytes < CONTENT_TAIL || bytes > OBJECT_BYTES_MAX) {
        free(c);
        return NULL;
    }
    c->bytes = bytes;
    c->salt = salt;
    uint64_t state = 0x9E3779B97F4A7C15ULL;
    for (size_t i = 0; i < CONTENT_BLOCK; i += 8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(c->block + i, &state, 8);
    }
    c->blocks = (bytes - CONTENT_TAIL) / CONTENT_BLOCK;
    c->rest = (size_t)((bytes - CONTENT_TAIL) % CONTENT_BLOCK);
    c->framed_len = frame(c->framed, c->block, CONTENT_BLOCK);
    c->rest_framed_len = frame(c->rest_framed, c->block, c->rest);
    c->before_tail = EVP_MD_CTX_new();
    if (!c->before_tail || EVP_DigestInit_ex(c->before_tail, EVP_sha256(), NULL) != 1)
        abort();
    for (uint64_t i = 0; i < c->blocks; i++)
        EVP_DigestUpdate(c->before_tail, c->block, CONTENT_BLOCK);
    EVP_DigestUpdate(c->before_tail, c->block, c->rest);
    return c;
}

void content_free(struct content *c)
{
    if (!c)
        return;
    EVP_MD_CTX_free(c->before_tail);
    free(c);
}

uint64_t content_bytes(const struct content *c)
{
    return c->bytes;
}

static void digest_text(const unsigned char *sum, char ret[DIGEST_TEXT_MAX])
{
    static const char hex[] = "0123456789abcdef";
    char *at = ret + 7;

    memcpy(ret, "sha256:", 7);
    for (unsigned i = 0; i < 32; i++) {
        *at++ = hex[sum[i] >> 4];
        *at++ = hex[sum[i] & 15];
    }
    *at = 0;
}

void sha256_text(const void *at, size_t len, char ret[DIGEST_TEXT_MAX])
{
    unsigned char sum[EVP_MAX_MD_SIZE];

    if (EVP_Digest(at, len, sum, NULL, EVP_sha256(), NULL) != 1)
        abort();
    digest_text(sum, ret);
}

static void tail_text(const struct content *c, uint64_t index, char ret[CONTENT_TAIL + 1])
{
    snprintf(ret, CONTENT_TAIL + 1, "%016llx%016llx", (unsigned long long)c->salt,
             (unsigned long long)index);
}

void content_digest(const struct content *c, uint64_t index, char ret[DIGEST_TEXT_MAX])
{
    char tail[CONTENT_TAIL + 1];
    unsigned char sum[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    tail_text(c, index, tail);
    if (!ctx || EVP_MD_CTX_copy_ex(ctx, c->before_tail) != 1 ||
        EVP_DigestUpdate(ctx, tail, CONTENT_TAIL) != 1 || EVP_DigestFinal_ex(ctx, sum, NULL) != 1)
        abort();
    EVP_MD_CTX_free(ctx);
    digest_text(sum, ret);
}

void content_body(const struct content *c, uint64_t index, bool chunked, char *scratch,
                  struct request *rq)
{
    char tail[CONTENT_TAIL + 1];
    size_t len = CONTENT_TAIL;

    tail_text(c, index, tail);
    if (chunked)
        len = (size_t)snprintf(scratch, SCRATCH_MAX, "%x\r\n%s\r\n0\r\n\r\n", CONTENT_TAIL, tail);
    else
        memcpy(scratch, tail, CONTENT_TAIL);
    rq->body[0] = chunked ? (struct segment){c->framed, c->framed_len, c->blocks}
                          : (struct segment){c->block, CONTENT_BLOCK, c->blocks};
    rq->body[1] = chunked ? (struct segment){c->rest_framed, c->rest_framed_len, 1}
                          : (struct segment){c->block, c->rest, 1};
    rq->body[2] = (struct segment){scratch, len, 1};
    rq->segments = 3;
}

size_t manifest_text(char *ret, size_t max, const struct described *config,
                     const struct described *layers, unsigned layer_count, const char *label)
{
    int n = snprintf(ret, max,
                     "{\"schemaVersion\":2,"
                     "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
                     "\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\","
                     "\"digest\":\"%s\",\"size\":%llu},\"layers\":[",
                     config->digest, (unsigned long long)config->bytes);
    for (unsigned i = 0; i < layer_count; i++)
        n += snprintf(ret + n, max - (size_t)n,
                      "%s{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\","
                      "\"digest\":\"%s\",\"size\":%llu}",
                      i ? "," : "", layers[i].digest, (unsigned long long)layers[i].bytes);
    n += snprintf(ret + n, max - (size_t)n,
                  "],\"annotations\":{\"org.example.bench.label\":\"%s\","
                  "\"org.example.bench.fill\":\"",
                  label);
    size_t len = (size_t)n;
    for (; len < 1021 && len + 4 < max; len++)
        ret[len] = (char)('a' + len % 26);
    memcpy(ret + len, "\"}}", 3);
    return len + 3;
}
