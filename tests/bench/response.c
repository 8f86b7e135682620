/*
 * Incremental parser of one HTTP/1.1 response: status line, the few headers the flows use, body
 * by length or by chunks. Interim (1xx) responses are skipped. Owner: one parser a connection.
 */
#include "load.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CHUNK_BYTES_MAX (1ULL << 40)

void parser_reset(struct parser *p, bool bodiless, bool hash, bool count)
{
    p->state = PARSE_HEAD;
    p->bodiless = bodiless;
    p->hash = hash;
    p->count = count;
    p->head_len = 0;
    p->left = 0;
    p->rs = (struct response){.content_length = -1};
    if (hash) {
        if (!p->sha)
            p->sha = EVP_MD_CTX_new();
        if (!p->sha || EVP_DigestInit_ex(p->sha, EVP_sha256(), NULL) != 1)
            abort();
    }
}

void parser_done(struct parser *p)
{
    EVP_MD_CTX_free(p->sha);
    p->sha = NULL;
}

static void copy_text(char *ret, size_t max, const char *at, size_t len)
{
    size_t n = len < max ? len : max - 1;

    memcpy(ret, at, n);
    ret[n] = '\0';
}

static bool named(const char *line, size_t name_len, const char *name)
{
    return name_len == strlen(name) && strncasecmp(line, name, name_len) == 0;
}

static int take_header(struct response *rs, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    if (!colon)
        return -1;
    size_t name_len = (size_t)(colon - line);
    const char *value = colon + 1;
    const char *end = line + len;
    while (value < end && *value == ' ')
        value++;
    size_t value_len = (size_t)(end - value);

    if (named(line, name_len, "content-length"))
        rs->content_length = (int64_t)strtoll(value, NULL, 10);
    else if (named(line, name_len, "transfer-encoding"))
        rs->chunked = value_len == 7 && strncasecmp(value, "chunked", 7) == 0;
    else if (named(line, name_len, "connection"))
        rs->close = value_len == 5 && strncasecmp(value, "close", 5) == 0;
    else if (named(line, name_len, "location"))
        copy_text(rs->location, sizeof(rs->location), value, value_len);
    else if (named(line, name_len, "docker-content-digest"))
        copy_text(rs->digest, sizeof(rs->digest), value, value_len);
    return 0;
}

/* The head lies in p->head and ends with an empty line. */
static int take_head(struct parser *p)
{
    char *at = p->head;
    char *eol = strstr(at, "\r\n");

    if (!eol || strncmp(at, "HTTP/1.", 7) != 0 || p->head_len < 12)
        return -1;
    p->rs = (struct response){.content_length = -1};
    p->rs.status = (int)strtol(at + 8, NULL, 10);
    for (at = eol + 2; (eol = strstr(at, "\r\n")) && eol != at; at = eol + 2)
        if (take_header(&p->rs, at, (size_t)(eol - at)) < 0)
            return -1;
    return p->rs.status >= 100 && p->rs.status < 600 ? 0 : -1;
}

static void finish(struct parser *p)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    p->state = PARSE_DONE;
    if (!p->hash || EVP_DigestFinal_ex(p->sha, sum, &len) != 1)
        return;
    memcpy(p->rs.body_digest, "sha256:", 7);
    for (unsigned i = 0; i < len && i < 32; i++)
        snprintf(p->rs.body_digest + 7 + i * 2, 3, "%02x", sum[i]);
    p->rs.hashed = true;
}

static int head_complete(struct parser *p)
{
    p->head[p->head_len] = '\0';
    if (take_head(p) < 0)
        return -1;
    if (p->rs.status < 200) {
        p->head_len = 0;
        return 0;
    }
    p->rs.head_ns = clock_ns();
    if (p->bodiless || p->rs.status == 204 || p->rs.status == 304) {
        finish(p);
    } else if (p->rs.chunked) {
        p->state = PARSE_CHUNK_SIZE;
        p->head_len = 0;
    } else if (p->rs.content_length < 0) {
        return -1; /* a body ended by close: no registry needs it */
    } else {
        p->left = (uint64_t)p->rs.content_length;
        p->state = PARSE_BODY;
        if (p->left == 0)
            finish(p);
    }
    return 0;
}

/* Collects up to and including the given end mark in p->head. */
static ssize_t collect(struct parser *p, const char *at, size_t len, const char *mark,
                       bool *ret_complete)
{
    size_t mark_len = strlen(mark);
    size_t used = 0;

    *ret_complete = false;
    while (used < len) {
        if (p->head_len + 1 >= sizeof(p->head))
            return -1;
        p->head[p->head_len++] = at[used++];
        if (p->head_len >= mark_len && at[used - 1] == '\n' &&
            memcmp(p->head + p->head_len - mark_len, mark, mark_len) == 0) {
            *ret_complete = true;
            break;
        }
    }
    return (ssize_t)used;
}

static size_t take_body(struct parser *p, const char *at, size_t len)
{
    size_t n = len < p->left ? len : (size_t)p->left;

    p->left -= n;
    p->rs.body_bytes += n;
    if (p->hash && EVP_DigestUpdate(p->sha, at, n) != 1)
        abort();
    if (p->count)
        for (size_t i = 0; i < n; i++)
            p->rs.quotes += at[i] == '"';
    if (p->left == 0) {
        if (p->state == PARSE_BODY) {
            finish(p);
        } else {
            p->state = PARSE_CHUNK_END;
            p->head_len = 0;
        }
    }
    return n;
}

static int line_complete(struct parser *p)
{
    size_t len = p->head_len;

    p->head[len] = '\0';
    p->head_len = 0;
    if (p->state == PARSE_CHUNK_SIZE) {
        char *end = NULL;
        p->left = strtoull(p->head, &end, 16);
        if (end == p->head || p->left > CHUNK_BYTES_MAX)
            return -1;
        p->state = p->left > 0 ? PARSE_CHUNK : PARSE_TRAILER;
    } else if (p->state == PARSE_CHUNK_END) {
        if (len != 2)
            return -1;
        p->state = PARSE_CHUNK_SIZE;
    } else if (len == 2) {
        finish(p);
    }
    return 0;
}

ssize_t parser_feed(struct parser *p, const char *at, size_t len)
{
    size_t used = 0;

    while (used < len && p->state != PARSE_DONE) {
        if (p->state == PARSE_BODY || p->state == PARSE_CHUNK) {
            used += take_body(p, at + used, len - used);
            continue;
        }
        bool head = p->state == PARSE_HEAD;
        bool complete;
        ssize_t n = collect(p, at + used, len - used, head ? "\r\n\r\n" : "\r\n", &complete);
        if (n < 0)
            return -1;
        used += (size_t)n;
        if (complete && (head ? head_complete(p) : line_complete(p)) < 0)
            return -1;
    }
    return (ssize_t)used;
}
