/* Ordered map from byte strings to owned values, in memory (red-black tree of libbsd's sys/tree.h).
 * Key order is byte order (str_cmp): the order of every sorted answer. Keys are copied in; values
 * are raw pointers that the map frees with free_value (may be NULL). Not thread-safe. */
#ifndef STOWAGE_BASE_OMAP_H
#define STOWAGE_BASE_OMAP_H

#include "base/err.h"
#include "base/str.h"

struct omap;
struct omap_node; /* stays valid until its own removal */

int omap_new(void (*free_value)(void *value), struct omap **ret) must_check;
void omap_free(struct omap *m);
void omap_freep(struct omap **m);
#define auto_omap auto_of(omap_freep)

size_t omap_count(const struct omap *m);
size_t omap_bytes(const struct omap *m);              /* memory, values not counted */
void *omap_get(const struct omap *m, struct str key); /* NULL when absent; values are never NULL */
/* Inserts or replaces (the old value is freed). On error the value stays the caller's. */
int omap_put(struct omap *m, struct str key, void *value) must_check;
bool omap_remove(struct omap *m, struct str key);
/* Moves a node with its key and value into another map, in place of the one that has the key there,
 * whose value is the caller's then (NULL: none has). Cannot fail. */
void *omap_move(struct omap *to, struct omap *from, struct omap_node *n);

struct omap_node *omap_first(const struct omap *m);
struct omap_node *omap_after(const struct omap *m, struct str key);    /* first key > key */
struct omap_node *omap_at_least(const struct omap *m, struct str key); /* first key >= key */
struct omap_node *omap_next(const struct omap *m, struct omap_node *n);
struct str omap_key(const struct omap_node *n);
void *omap_value(const struct omap_node *n);

#endif
