/* Who signs requests to S3: credentials as AWS's own tools find them, in their order.
 *
 *   1. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   2. the profile AWS_PROFILE (default) of AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials), then
 *      of AWS_CONFIG_FILE (~/.aws/config)
 *   3. a container: AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI, with
 *      AWS_CONTAINER_AUTHORIZATION_TOKEN or _TOKEN_FILE
 *   4. the instance: AWS_EC2_METADATA_SERVICE_ENDPOINT (169.254.169.254), version 2, unless
 *      AWS_EC2_METADATA_DISABLED
 *
 * Credentials that end are renewed CREDS_EARLY_MS before, by one thread; until they really end the
 * old ones serve. What never ends is looked for again after a refusal: files may have been changed.
 *
 * Owner of: struct s3_creds; mu guards all of it, and nothing is asked under it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "blobstore/store_s3_internal.h"

#define CREDS_EARLY_MS   300000
#define CREDS_RETRY_MS   5000 /* between looks that found nothing, or that a refusal asked for */
#define CREDS_ASK_MS     2000 /* of one metadata request */
#define CREDS_FILE_MAX   (256u << 10)
#define CREDS_ANSWER_MAX (64u << 10)
#define CREDS_URL_MAX    2048
#define CONTAINER_HOST   "http://169.254.170.2"
#define INSTANCE_HOST    "http://169.254.169.254"

struct found {
    char access[SIGV4_SECRET_MAX + 1], secret[SIGV4_SECRET_MAX + 1];
    char token[S3_TOKEN_MAX + 1];
    int64_t until_ms; /* wall clock; 0: never ends */
};

struct s3_creds {
    struct httpc *http; /* made at the first metadata request, by whoever is `looking` */
    struct mutex mu;
    struct cond looked;
    struct found found;
    bool have, looking, ask_again;
    int64_t looked_ms;
    /* The derived key, of one day. */
    char day[SIGV4_DAY_LEN + 1];
    char region[64];
    uint8_t day_key[HMAC_BYTES];
};

static bool put_text(char *out, size_t size, struct str text)
{
    if (text.len >= size || memchr(text.len > 0 ? text.at : "", '\0', text.len))
        return false;
    memcpy(out, text.len > 0 ? text.at : "", text.len);
    out[text.len] = '\0';
    return true;
}

static struct str env(const char *name)
{
    return str_of(getenv(name));
}

static struct str trim(struct str s)
{
    while (s.len > 0 && strchr(" \t\r\n", s.at[0]))
        s = str_skip(s, 1);
    while (s.len > 0 && strchr(" \t\r\n", s.at[s.len - 1]))
        s.len--;
    return s;
}

/* ---- environment */

static int from_environment(struct found *f)
{
    struct str access = env("AWS_ACCESS_KEY_ID"), secret = env("AWS_SECRET_ACCESS_KEY");

    if (access.len == 0 || secret.len == 0)
        return -ERR_NOTFOUND;
    return put_text(f->access, sizeof(f->access), access) &&
                   put_text(f->secret, sizeof(f->secret), secret) &&
                   put_text(f->token, sizeof(f->token), env("AWS_SESSION_TOKEN"))
               ? 0
               : -ERR_INVAL;
}

/* ---- files */

static int read_file(const char *path, struct buf *out)
{
    int fd auto_fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_from_errno(errno);
    if (!S_ISREG(st.st_mode) || st.st_size > CREDS_FILE_MAX)
        return -ERR_INVAL;
    return fd_pread_all(fd, 0, (size_t)st.st_size, out);
}

static int shared_file(const char *variable, const char *name, struct buf *out)
{
    struct buf path auto_buf = BUF_INIT(4096);
    struct str given = env(variable);

    if (given.len > 0)
        buf_add(&path, given);
    else
        buf_addf(&path, "%s/.aws/%s", getenv("HOME") ? getenv("HOME") : "", name);
    return buf_err(&path) < 0 ? buf_err(&path) : read_file(buf_c(&path), out);
}

static bool is_section(struct str line, struct str profile, bool config)
{
    struct str name = trim(str_make(line.at + 1, line.len - 2));

    if (config && str_starts(name, STR("profile ")))
        name = trim(str_skip(name, 8));
    else if (config && !str_eq(name, STR("default")))
        return false;
    return str_eq(name, profile);
}

/* The value of a key in the profile's section of an AWS file; empty when there is none. */
static struct str profile_value(struct str text, bool config, const char *key)
{
    struct str profile = env("AWS_PROFILE");
    bool inside = false;

    if (profile.len == 0)
        profile = STR("default");
    while (text.len > 0) {
        ptrdiff_t end = str_find(text, '\n'), equals;
        struct str line = trim(end < 0 ? text : str_head(text, (size_t)end));

        text = end < 0 ? STR_NONE : str_skip(text, (size_t)end + 1);
        if (line.len >= 2 && line.at[0] == '[' && line.at[line.len - 1] == ']') {
            inside = is_section(line, profile, config);
            continue;
        }
        equals = str_find(line, '=');
        if (inside && equals > 0 && str_eq(trim(str_head(line, (size_t)equals)), str_of(key)))
            return trim(str_skip(line, (size_t)equals + 1));
    }
    return STR_NONE;
}

static int from_file(struct found *f, const char *variable, const char *name, bool config)
{
    struct buf text auto_buf = BUF_INIT(CREDS_FILE_MAX);
    int r = shared_file(variable, name, &text);
    struct str access, secret;

    if (r < 0)
        return r;
    access = profile_value(buf_str(&text), config, "aws_access_key_id");
    secret = profile_value(buf_str(&text), config, "aws_secret_access_key");
    if (access.len == 0 || secret.len == 0)
        return -ERR_NOTFOUND;
    return put_text(f->access, sizeof(f->access), access) &&
                   put_text(f->secret, sizeof(f->secret), secret) &&
                   put_text(f->token, sizeof(f->token),
                            profile_value(buf_str(&text), config, "aws_session_token"))
               ? 0
               : -ERR_INVAL;
}

void s3_creds_region(struct buf *out)
{
    struct buf text auto_buf = BUF_INIT(CREDS_FILE_MAX);

    if (shared_file("AWS_CONFIG_FILE", "config", &text) == 0)
        buf_add(out, profile_value(buf_str(&text), true, "region"));
}

/* ---- metadata services */

static int ask(struct s3_creds *c, const char *method, const char *url,
               const struct httpc_header *header, struct buf *out)
{
    struct httpc_request q = {.method = method,
                              .url = url,
                              .headers = header,
                              .header_count = header ? 1 : 0,
                              .answer = out,
                              .deadline_ms = clock_boot_ms() + CREDS_ASK_MS};
    const struct httpc_settings settings = {.connections_max = 2, .connect_ms = 1000};
    int r = c->http ? 0 : httpc_new(&settings, &c->http, NULL);

    if (r == 0)
        r = httpc_run(c->http, &q);
    if (r == 0 && (q.result != HTTPC_ANSWERED || q.status != 200))
        r = -ERR_UNAVAIL;
    httpc_request_done(&q);
    return r;
}

/* {"AccessKeyId":..,"SecretAccessKey":..,"Token":..,"Expiration":"2026-11-22T07:50:00Z"} */
static int parse_metadata(struct str text, struct found *f)
{
    struct json_doc *doc auto_json = NULL;
    const struct json *root;
    struct str access, secret, token = STR_NONE, until;

    if (json_parse(text, &doc, NULL) < 0)
        return -ERR_CORRUPT;
    root = json_root(doc);
    if (!json_get_str(root, "AccessKeyId", &access) ||
        !json_get_str(root, "SecretAccessKey", &secret) || access.len == 0)
        return -ERR_CORRUPT;
    (void)json_get_str(root, "Token", &token);
    if (json_get_str(root, "Expiration", &until) && !s3_time_iso(until, &f->until_ms))
        return -ERR_CORRUPT;
    return put_text(f->access, sizeof(f->access), access) &&
                   put_text(f->secret, sizeof(f->secret), secret) &&
                   put_text(f->token, sizeof(f->token), token)
               ? 0
               : -ERR_CORRUPT;
}

static int from_container(struct s3_creds *c, struct found *f)
{
    struct buf url auto_buf = BUF_INIT(CREDS_URL_MAX);
    struct buf token auto_buf = BUF_INIT(CREDS_FILE_MAX);
    struct buf answer auto_buf = BUF_INIT(CREDS_ANSWER_MAX);
    struct httpc_header header = {STR("Authorization"), env("AWS_CONTAINER_AUTHORIZATION_TOKEN")};
    struct str full = env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    struct str relative = env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *file = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    int r;

    if (full.len == 0 && relative.len == 0)
        return -ERR_NOTFOUND;
    if (relative.len > 0)
        buf_add(&url, STR(CONTAINER_HOST));
    buf_add(&url, relative.len > 0 ? relative : full);
    if (file && read_file(file, &token) == 0)
        header.value = trim(buf_str(&token));
    r = ask(c, "GET", buf_c(&url), header.value.len > 0 ? &header : NULL, &answer);
    return r < 0 ? r : parse_metadata(buf_str(&answer), f);
}

static int from_instance(struct s3_creds *c, struct found *f)
{
    static const char path[] = "/latest/meta-data/iam/security-credentials/";
    struct buf url auto_buf = BUF_INIT(CREDS_URL_MAX);
    struct buf token auto_buf = BUF_INIT(CREDS_ANSWER_MAX);
    struct buf answer auto_buf = BUF_INIT(CREDS_ANSWER_MAX);
    struct str host = env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    struct httpc_header header = {STR("X-aws-ec2-metadata-token-ttl-seconds"), STR("21600")};
    int r;

    if (str_eq_nocase(env("AWS_EC2_METADATA_DISABLED"), STR("true")))
        return -ERR_NOTFOUND;
    if (host.len == 0)
        host = STR(INSTANCE_HOST);
    while (host.len > 0 && host.at[host.len - 1] == '/')
        host.len--;
    buf_addf(&url, STR_FMT "/latest/api/token", STR_ARG(host));
    r = ask(c, "PUT", buf_c(&url), &header, &token);
    if (r < 0)
        return r;
    header = (struct httpc_header){STR("X-aws-ec2-metadata-token"), trim(buf_str(&token))};
    buf_clear(&url);
    buf_addf(&url, STR_FMT "%s", STR_ARG(host), path);
    r = ask(c, "GET", buf_c(&url), &header, &answer);
    if (r < 0)
        return r;
    buf_add(&url, trim(buf_str(&answer))); /* the role's name */
    buf_clear(&answer);
    r = buf_err(&url) < 0 ? buf_err(&url) : ask(c, "GET", buf_c(&url), &header, &answer);
    return r < 0 ? r : parse_metadata(buf_str(&answer), f);
}

/* ---- looking and serving */

static int look(struct s3_creds *c, struct found *f)
{
    int r = from_environment(f);

    if (r < 0)
        r = from_file(f, "AWS_SHARED_CREDENTIALS_FILE", "credentials", false);
    if (r < 0)
        r = from_file(f, "AWS_CONFIG_FILE", "config", true);
    if (r < 0)
        r = from_container(c, f);
    if (r < 0)
        r = from_instance(c, f);
    return r;
}

static bool usable_locked(const struct s3_creds *c, int64_t early_ms)
{
    return c->have && (c->found.until_ms == 0 || clock_wall_ms() + early_ms < c->found.until_ms);
}

/* Is it time to look, and is nobody looking? */
static bool due_locked(const struct s3_creds *c)
{
    bool waited = c->looked_ms == 0 || clock_boot_ms() - c->looked_ms > CREDS_RETRY_MS;

    return !c->looking && (!usable_locked(c, CREDS_EARLY_MS) || c->ask_again) &&
           (waited || (c->ask_again && usable_locked(c, CREDS_EARLY_MS)));
}

static void look_unlocked(struct s3_creds *c)
{
    struct found f = {.until_ms = 0};
    int r;

    c->looking = true;
    mutex_unlock(&c->mu);
    r = look(c, &f);
    mutex_lock(&c->mu);
    c->looking = false;
    c->ask_again = false;
    c->looked_ms = clock_boot_ms();
    if (r == 0) {
        c->found = f;
        c->have = true;
        c->day[0] = '\0';
    } else {
        log_warn("store.credentials", KV_S("why", err_text(r)));
    }
    explicit_bzero(&f, sizeof(f));
    cond_broadcast(&c->looked);
}

static int key_locked(struct s3_creds *c, struct str day, struct str region, struct s3_key *ret)
{
    int r = 0;

    if (!str_eq(str_of(c->day), day) || !str_eq(str_of(c->region), region))
        r = sigv4_day_key(str_of(c->found.secret), day, region, STR("s3"), c->day_key);
    if (r < 0 || !put_text(c->day, sizeof(c->day), day) ||
        !put_text(c->region, sizeof(c->region), region))
        return -ERR_INVAL;
    memcpy(ret->day_key, c->day_key, sizeof(ret->day_key));
    memcpy(ret->access, c->found.access, sizeof(ret->access));
    memcpy(ret->token, c->found.token, strlen(c->found.token) + 1);
    return 0;
}

int s3_creds_key(struct s3_creds *c, struct str day, struct str region, struct s3_key *ret,
                 struct err_detail *detail)
{
    int r = -ERR_UNAVAIL;

    mutex_lock(&c->mu);
    if (due_locked(c))
        look_unlocked(c);
    while (c->looking && !usable_locked(c, 0))
        cond_wait(&c->looked, &c->mu);
    if (usable_locked(c, 0))
        r = key_locked(c, day, region, ret);
    mutex_unlock(&c->mu);
    return r == 0 ? 0
                  : err_set(detail, r,
                            "no credentials for the object store: set AWS_ACCESS_KEY_ID "
                            "and AWS_SECRET_ACCESS_KEY");
}

bool s3_creds_refused(struct s3_creds *c)
{
    bool again;

    mutex_lock(&c->mu);
    again = !c->looking && clock_boot_ms() - c->looked_ms > CREDS_RETRY_MS;
    if (again)
        c->ask_again = true;
    mutex_unlock(&c->mu);
    return again;
}

int s3_creds_new(struct s3_creds **ret)
{
    struct s3_creds *c = calloc(1, sizeof(*c));

    if (!c)
        return -ERR_NOMEM;
    mutex_init(&c->mu);
    cond_init(&c->looked);
    *ret = c;
    return 0;
}

void s3_creds_free(struct s3_creds *c)
{
    if (!c)
        return;
    httpc_free(c->http);
    cond_done(&c->looked);
    mutex_done(&c->mu);
    explicit_bzero(c, sizeof(*c));
    free(c);
}
