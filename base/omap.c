/* Ordered map. A node and its key are one piece of memory; a node keeps its address until it is
 * removed, also when its value is replaced.
 *
 * Of a large map most keys that are asked for are mostly not there (the changes of a log, which lie
 * over its table): a bit for each hash of a key that came in tells that without a walk down the
 * tree, each step of which is a cache miss. */
#include <assert.h>
#include <stdlib.h>

#include <bsd/sys/tree.h>

#include "base/crc.h"
#include "base/omap.h"

struct omap_node {
    RB_ENTRY(omap_node) links;
    void *value;
    size_t key_len;
    char key[];
};

RB_HEAD(omap_tree, omap_node);

struct omap {
    struct omap_tree tree;
    size_t count, bytes;
    uint64_t *filter; /* NULL: none; never forgets a key until it grows */
    size_t filter_words;
    void (*free_value)(void *value);
};

static int node_cmp(const struct omap_node *a, const struct omap_node *b)
{
    return str_cmp(omap_key(a), omap_key(b));
}

RB_GENERATE_INTERNAL(omap_tree, omap_node, links, node_cmp, __attribute__((unused)) static)

static size_t node_bytes(const struct omap_node *n)
{
    return sizeof(*n) + n->key_len;
}

/* ---- the filter */

#define FILTER_FROM 1024 /* keys, from which on there is one */
#define FILTER_BITS 16   /* for each key, when it is made; at half of that it is made anew */
#define WORD_BITS   64

static bool filter_bit(const struct omap *m, struct str key, uint64_t **ret_word, uint64_t *ret_bit)
{
    size_t at = crc32c(key) % (m->filter_words * WORD_BITS);

    *ret_word = &m->filter[at / WORD_BITS];
    *ret_bit = (uint64_t)1 << (at % WORD_BITS);
    return **ret_word & *ret_bit;
}

static bool certainly_absent(const struct omap *m, struct str key)
{
    uint64_t *word, bit;

    return m->filter && !filter_bit(m, key, &word, &bit);
}

static void filter_note(struct omap *m, const struct omap_node *n)
{
    uint64_t *word, bit;

    (void)filter_bit(m, omap_key(n), &word, &bit);
    *word |= bit;
}

static void filter_make(struct omap *m)
{
    struct omap_node *n;

    free(m->filter);
    m->filter_words = m->count * FILTER_BITS / WORD_BITS;
    m->filter = calloc(m->filter_words, sizeof(*m->filter)); /* without it all is as true */
    for (n = omap_first(m); m->filter && n; n = omap_next(m, n))
        filter_note(m, n);
}

static void came_in(struct omap *m, const struct omap_node *n)
{
    m->count++;
    m->bytes += node_bytes(n);
    if (m->filter && m->count * FILTER_BITS / 2 <= m->filter_words * WORD_BITS)
        filter_note(m, n);
    else if (m->count >= FILTER_FROM)
        filter_make(m);
}

/* ---- */

int omap_new(void (*free_value)(void *value), struct omap **ret)
{
    struct omap *m = calloc(1, sizeof(*m));

    if (!m)
        return -ERR_NOMEM;
    RB_INIT(&m->tree);
    m->free_value = free_value;
    *ret = m;
    return 0;
}

static void drop(struct omap *m, struct omap_node *n)
{
    RB_REMOVE(omap_tree, &m->tree, n);
    m->count--;
    m->bytes -= node_bytes(n);
    if (m->free_value)
        m->free_value(n->value);
    free(n);
}

void omap_free(struct omap *m)
{
    struct omap_node *n;

    if (!m)
        return;
    while ((n = RB_ROOT(&m->tree)))
        drop(m, n);
    free(m->filter);
    free(m);
}

void omap_freep(struct omap **m)
{
    omap_free(*m);
    *m = NULL;
}

size_t omap_count(const struct omap *m)
{
    return m->count;
}

size_t omap_bytes(const struct omap *m)
{
    return m->bytes + (m->filter ? m->filter_words * sizeof(*m->filter) : 0);
}

/* The first node with key > key, or >= key. */
static struct omap_node *bound(const struct omap *m, struct str key, bool equal_too)
{
    struct omap_node *n = RB_ROOT(&m->tree), *best = NULL;

    while (n) {
        int c = str_cmp(key, omap_key(n));

        if (c < 0 || (c == 0 && equal_too)) {
            best = n;
            n = RB_LEFT(n, links);
        } else {
            n = RB_RIGHT(n, links);
        }
    }
    return best;
}

static struct omap_node *find(const struct omap *m, struct str key)
{
    struct omap_node *n = certainly_absent(m, key) ? NULL : RB_ROOT(&m->tree);

    while (n) {
        int c = str_cmp(key, omap_key(n));

        if (c == 0)
            break;
        n = c < 0 ? RB_LEFT(n, links) : RB_RIGHT(n, links);
    }
    return n;
}

void *omap_get(const struct omap *m, struct str key)
{
    struct omap_node *n = find(m, key);

    return n ? n->value : NULL;
}

int omap_put(struct omap *m, struct str key, void *value)
{
    struct omap_node *n = find(m, key);

    assert(value);
    if (n) {
        if (m->free_value && n->value != value)
            m->free_value(n->value);
        n->value = value;
        return 0;
    }
    if (key.len > SIZE_MAX - sizeof(*n))
        return -ERR_NOMEM;
    n = malloc(sizeof(*n) + key.len);
    if (!n)
        return -ERR_NOMEM;
    n->value = value;
    n->key_len = key.len;
    if (key.len > 0)
        memcpy(n->key, key.at, key.len);
    RB_INSERT(omap_tree, &m->tree, n);
    came_in(m, n);
    return 0;
}

bool omap_remove(struct omap *m, struct str key)
{
    struct omap_node *n = find(m, key);

    if (n)
        drop(m, n);
    return n != NULL;
}

void *omap_move(struct omap *to, struct omap *from, struct omap_node *n)
{
    struct omap_node *there;
    void *old;

    RB_REMOVE(omap_tree, &from->tree, n);
    from->count--;
    from->bytes -= node_bytes(n);
    there = RB_INSERT(omap_tree, &to->tree, n);
    if (!there) {
        came_in(to, n);
        return NULL;
    }
    old = there->value;
    there->value = n->value;
    free(n);
    return old;
}

struct omap_node *omap_first(const struct omap *m)
{
    return bound(m, STR_NONE, true);
}

struct omap_node *omap_after(const struct omap *m, struct str key)
{
    return bound(m, key, false);
}

struct omap_node *omap_at_least(const struct omap *m, struct str key)
{
    return bound(m, key, true);
}

struct omap_node *omap_next(const struct omap *m, struct omap_node *n)
{
    (void)m;
    return RB_NEXT(omap_tree, &m->tree, n);
}

struct str omap_key(const struct omap_node *n)
{
    return str_make(n->key, n->key_len);
}

void *omap_value(const struct omap_node *n)
{
    return n->value;
}
