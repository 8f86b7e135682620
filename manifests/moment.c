/* Times to numbers; the way back is in base/enc.h. */
#include "manifests/moment.h"

#include <assert.h>

#define NUMBER_DIGITS_MAX 18 /* a number of a log that fits into 63 bits for certain */
#define COMPONENT_LEN     19 /* at-20261122t075000z */
#define MS_PER_SECOND     1000
#define MS_PER_MINUTE     60000

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads n digits off the front. */
static bool take_number(struct str *s, size_t n, int64_t *ret)
{
    *ret = 0;
    if (s->len < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!is_digit(s->at[i]))
            return false;
        *ret = *ret * 10 + (s->at[i] - '0');
    }
    *s = str_skip(*s, n);
    return true;
}

static bool take(struct str *s, const char *any_of)
{
    if (s->len == 0 || str_find(str_of(any_of), s->at[0]) < 0)
        return false;
    *s = str_skip(*s, 1);
    return true;
}

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar; false: there is none. */
static bool days_of(int64_t year, int64_t month, int64_t day, int64_t *ret)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t before = year - 1, days;

    if (month < 1 || month > 12 || day < 1 ||
        day > lengths[month - 1] + (month == 2 && is_leap(year)))
        return false;
    days = before * 365 + before / 4 - before / 100 + before / 400; /* before the year */
    for (int64_t m = 1; m < month; m++)
        days += lengths[m - 1] + (m == 2 && is_leap(year));
    *ret = days + day - 1 - 719162; /* days before 1970 */
    return true;
}

static bool ms_of(const int64_t date[3], const int64_t clock[3], int64_t *ret)
{
    int64_t days;

    if (date[0] < 1970 || !days_of(date[0], date[1], date[2], &days) || clock[0] > 23 ||
        clock[1] > 59 || clock[2] > 60)
        return false;
    *ret = (((days * 24 + clock[0]) * 60 + clock[1]) * 60 + clock[2]) * MS_PER_SECOND;
    return true;
}

/* ".123", of which more digits are cut; nothing is 0. */
static bool take_fraction(struct str *s, int64_t *ret_ms)
{
    int64_t unit = 100;

    *ret_ms = 0;
    if (!take(s, "."))
        return true;
    if (s->len == 0 || !is_digit(s->at[0]))
        return false;
    for (; s->len > 0 && is_digit(s->at[0]); *s = str_skip(*s, 1), unit /= 10)
        *ret_ms += (s->at[0] - '0') * unit;
    return true;
}

/* "Z" or "+01:00". */
static bool take_offset(struct str *s, int64_t *ret_ms)
{
    int64_t hours, minutes, sign;

    *ret_ms = 0;
    if (take(s, "zZ"))
        return true;
    if (s->len == 0 || (s->at[0] != '+' && s->at[0] != '-'))
        return false;
    sign = s->at[0] == '-' ? -1 : 1;
    *s = str_skip(*s, 1);
    if (!take_number(s, 2, &hours) || !take(s, ":") || !take_number(s, 2, &minutes) || hours > 23 ||
        minutes > 59)
        return false;
    *ret_ms = sign * (hours * 60 + minutes) * MS_PER_MINUTE;
    return true;
}

static bool time_parse(struct str s, int64_t *ret)
{
    int64_t date[3], clock[3], fraction, offset;

    if (!take_number(&s, 4, &date[0]) || !take(&s, "-") || !take_number(&s, 2, &date[1]) ||
        !take(&s, "-") || !take_number(&s, 2, &date[2]) || !take(&s, "tT ") ||
        !take_number(&s, 2, &clock[0]) || !take(&s, ":") || !take_number(&s, 2, &clock[1]) ||
        !take(&s, ":") || !take_number(&s, 2, &clock[2]) || !take_fraction(&s, &fraction) ||
        !take_offset(&s, &offset) || s.len > 0 || !ms_of(date, clock, ret))
        return false;
    *ret += fraction - offset;
    return *ret >= 0;
}

static bool number_parse(struct str s, uint64_t *ret)
{
    int64_t n;

    if (s.len == 0 || s.len > NUMBER_DIGITS_MAX || !take_number(&s, s.len, &n))
        return false;
    *ret = (uint64_t)n;
    return true;
}

int moment_parse(struct str text, struct moment *ret, struct err_detail *detail)
{
    struct moment m = {.by_time = false};

    assert(ret);
    if (!number_parse(text, &m.seq)) {
        m.by_time = true;
        if (!time_parse(text, &m.ms))
            return err_set(detail, -ERR_TIME,
                           "a point in time is a number of the log, or a time such as "
                           "2026-11-22T07:50:00Z");
    }
    *ret = m;
    return 0;
}

bool moment_of_component(struct str s, int64_t *ret_ms)
{
    int64_t date[3], clock[3];

    if (s.len != COMPONENT_LEN || !str_starts(s, STR("at-")))
        return false;
    s = str_skip(s, 3);
    return take_number(&s, 4, &date[0]) && take_number(&s, 2, &date[1]) &&
           take_number(&s, 2, &date[2]) && take(&s, "t") && take_number(&s, 2, &clock[0]) &&
           take_number(&s, 2, &clock[1]) && take_number(&s, 2, &clock[2]) && take(&s, "z") &&
           ms_of(date, clock, ret_ms);
}
