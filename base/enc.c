/* Encodings. Pure functions; numbers and dates never depend on the locale or the time zone. */
#include <assert.h>
#include <stdio.h>

#include "base/enc.h"

#define MS_PER_DAY INT64_C(86400000)

static const char hex_lower[] = "0123456789abcdef";
static const char hex_upper[] = "0123456789ABCDEF";

void hex_encode(const uint8_t *bytes, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = hex_lower[bytes[i] >> 4];
        out[2 * i + 1] = hex_lower[bytes[i] & 15];
    }
    out[2 * len] = '\0';
}

/* Value of a hex digit, -1 for others. */
static int hex_value(char c, bool upper_too)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (upper_too && c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hex_decode(struct str hex, uint8_t *out, size_t len)
{
    if (hex.len % 2 != 0 || hex.len / 2 != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        int high = hex_value(hex.at[2 * i], false);
        int low = hex_value(hex.at[2 * i + 1], false);

        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static const char b64_standard[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char b64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void add_b64(struct buf *out, struct str bytes, const char *alphabet, bool padded)
{
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t group = 0;

        for (size_t k = 0; k < 3; k++)
            group = group << 8 | (k < n ? (uint8_t)bytes.at[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            if (k <= n)
                buf_addc(out, alphabet[group >> (18 - 6 * k) & 63]);
            else if (padded)
                buf_addc(out, '=');
    }
}

void b64_encode(struct buf *out, struct str bytes)
{
    add_b64(out, bytes, b64_standard, true);
}

void b64url_encode(struct buf *out, struct str bytes)
{
    add_b64(out, bytes, b64_url, false);
}

static int b64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

int b64_decode(struct buf *out, struct str text)
{
    uint32_t bits = 0;
    unsigned count = 0;

    if (text.len % 4 == 0)
        for (int i = 0; i < 2 && text.len && text.at[text.len - 1] == '='; i++)
            text.len--;
    if (text.len % 4 == 1)
        return -ERR_INVAL;
    for (size_t i = 0; i < text.len; i++) {
        int v = b64_value(text.at[i]);

        if (v < 0)
            return -ERR_INVAL;
        bits = (bits << 6 | (uint32_t)v) & 0xffffff;
        count += 6;
        if (count >= 8) {
            count -= 8;
            buf_addc(out, (char)(uint8_t)(bits >> count));
        }
    }
    if (bits & ((1u << count) - 1))
        return -ERR_INVAL;
    return buf_err(out);
}

static bool url_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '~' || c == '-';
}

void url_encode(struct buf *out, struct str s, const char *also)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.at[i];
        unsigned char byte = (unsigned char)c;

        if (url_unreserved(c) || (c && also && strchr(also, c))) {
            buf_addc(out, c);
        } else {
            const char escape[3] = {'%', hex_upper[byte >> 4], hex_upper[byte & 15]};

            buf_add(out, str_make(escape, sizeof(escape)));
        }
    }
}

int url_decode(struct buf *out, struct str s, bool plus_is_space)
{
    for (size_t i = 0; i < s.len; i++) {
        int high, low;

        if (s.at[i] == '+' && plus_is_space) {
            buf_addc(out, ' ');
            continue;
        }
        if (s.at[i] != '%') {
            buf_addc(out, s.at[i]);
            continue;
        }
        if (s.len - i < 3)
            return -ERR_INVAL;
        high = hex_value(s.at[i + 1], true);
        low = hex_value(s.at[i + 2], true);
        if (high < 0 || low < 0 || (high == 0 && low == 0))
            return -ERR_INVAL;
        buf_addc(out, (char)(high << 4 | low));
        i += 2;
    }
    return buf_err(out);
}

struct utc {
    int64_t year;
    unsigned month, day, weekday; /* 1-12, 1-31, 0 = Sunday */
    unsigned hour, minute, second, ms;
};

/* Proleptic Gregorian calendar, counted in eras of 400 years that begin on 1 March. */
static struct utc utc_of(int64_t ms)
{
    int64_t days = ms / MS_PER_DAY, rest = ms % MS_PER_DAY, era;
    unsigned of_day, of_era, year_of_era, of_year, march_month;
    struct utc t;

    if (rest < 0) {
        rest += MS_PER_DAY;
        days--;
    }
    of_day = (unsigned)rest;
    t.ms = of_day % 1000;
    t.second = of_day / 1000 % 60;
    t.minute = of_day / 60000 % 60;
    t.hour = of_day / 3600000;
    t.weekday = (unsigned)(((days + 4) % 7 + 7) % 7); /* day 0 was a Thursday */

    days += 719468; /* from 0000-03-01 */
    era = (days >= 0 ? days : days - 146096) / 146097;
    of_era = (unsigned)(days - era * 146097);
    year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    march_month = (5 * of_year + 2) / 153;
    t.day = of_year - (153 * march_month + 2) / 5 + 1;
    t.month = march_month < 10 ? march_month + 3 : march_month - 9;
    t.year = (int64_t)year_of_era + era * 400 + (t.month <= 2);
    return t;
}

static struct str time_text(char *out, int len)
{
    assert(len > 0 && len < TIME_TEXT_MAX);
    return str_make(out, (size_t)len);
}

struct str time_format_rfc3339(int64_t ms, char out[TIME_TEXT_MAX])
{
    struct utc t = utc_of(ms);

    return time_text(out,
                     snprintf(out, TIME_TEXT_MAX, "%04lld-%02u-%02uT%02u:%02u:%02u.%03uZ",
                              (long long)t.year, t.month, t.day, t.hour, t.minute, t.second, t.ms));
}

struct str time_format_http(int64_t ms, char out[TIME_TEXT_MAX])
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct utc t = utc_of(ms);

    return time_text(out, snprintf(out, TIME_TEXT_MAX, "%s, %02u %s %04lld %02u:%02u:%02u GMT",
                                   days[t.weekday], t.day, months[t.month - 1], (long long)t.year,
                                   t.hour, t.minute, t.second));
}

struct str time_format_minute(int64_t ms, char out[TIME_TEXT_MAX])
{
    struct utc t = utc_of(ms);

    return time_text(out, snprintf(out, TIME_TEXT_MAX, "%04lld%02u%02u%02u%02u", (long long)t.year,
                                   t.month, t.day, t.hour, t.minute));
}
