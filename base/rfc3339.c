/* rfc3339.c - times as text (RFC 3339 §5.6), by arithmetic alone: no time zone data, no locale. */
#include "base/rfc3339.h"

#define US_PER_SECOND INT64_C(1000000)
#define SECONDS_PER_DAY INT64_C(86400)
#define DAYS_PER_ERA 146097		   /* 400 years */
#define FIRST_SECOND INT64_C(-62167219200) /* 0000-01-01T00:00:00Z */
#define LAST_SECOND INT64_C(253402300799)  /* 9999-12-31T23:59:59Z */

struct date {
	int64_t year, month, day;
};

struct moment {
	struct date date;
	int64_t hour, minute, second, us, offset_minutes;
};

static struct date date_of_day(int64_t day);
static int64_t day_of_date(struct date);
static bool read_date(const char **at, struct moment *);
static bool read_time(const char **at, struct moment *);
static bool read_fraction(const char **at, struct moment *);
static bool read_offset(const char **at, struct moment *);
static bool is_possible(const struct moment *);
static bool is_leap_second_possible(int64_t unix_seconds);

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
	return value < low ? low : value > high ? high : value;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static char *put_digits(char *at, int64_t value, int count, char behind)
{
	at[count] = behind;
	for (int i = count - 1; i >= 0; i--, value /= 10)
		at[i] = (char)('0' + value % 10);
	return at + count + 1;
}

/* The text has four digits for the year: a time outside of them is the first or the last one inside. Written several times for each
 * command, hence not by snprintf(), which takes ten times as long. */
void rfc3339_write(int64_t unix_us, char out[RFC3339_SIZE])
{
	unix_us = clamp(unix_us, FIRST_SECOND * US_PER_SECOND, LAST_SECOND * US_PER_SECOND + US_PER_SECOND - 1);
	int64_t seconds = floor_div(unix_us, US_PER_SECOND);
	int64_t us = unix_us - seconds * US_PER_SECOND;
	int64_t day = floor_div(seconds, SECONDS_PER_DAY);
	int64_t of_day = seconds - day * SECONDS_PER_DAY;
	struct date date = date_of_day(day);
	char *at = put_digits(out, date.year, 4, '-');
	at = put_digits(at, date.month, 2, '-');
	at = put_digits(at, date.day, 2, 'T');
	at = put_digits(at, of_day / 3600, 2, ':');
	at = put_digits(at, of_day / 60 % 60, 2, ':');
	at = put_digits(at, of_day % 60, 2, '.');
	at = put_digits(at, us, 6, 'Z');
	*at = '\0';
}

bool rfc3339_read(const char *text, int64_t *ret_unix_us)
{
	struct moment m = { .us = 0 };
	const char *at = text;
	if (!read_date(&at, &m) || !read_time(&at, &m) || !read_fraction(&at, &m) || !read_offset(&at, &m) || *at)
		return false;
	if (!is_possible(&m))
		return false;
	int64_t minutes = day_of_date(m.date) * 1440 + m.hour * 60 + m.minute - m.offset_minutes;
	int64_t seconds = minutes * 60 + m.second;
	if (m.second == 60 && !is_leap_second_possible(seconds))
		return false;
	*ret_unix_us = seconds * US_PER_SECOND + m.us;
	return true;
}

static bool read_digits(const char **at, int count, int64_t *ret)
{
	int64_t value = 0;
	for (; count > 0; count--, (*at)++) {
		if (**at < '0' || **at > '9')
			return false;
		value = value * 10 + (**at - '0');
	}
	*ret = value;
	return true;
}

/* §5.6: "T" and "Z" may alternatively be lower case. */
static bool read_letter(const char **at, char upper)
{
	if (**at != upper && **at != upper + ('a' - 'A'))
		return false;
	(*at)++;
	return true;
}

static bool read_mark(const char **at, char mark)
{
	if (**at != mark)
		return false;
	(*at)++;
	return true;
}

static bool read_date(const char **at, struct moment *m)
{
	return read_digits(at, 4, &m->date.year) && read_mark(at, '-') && read_digits(at, 2, &m->date.month) &&
	       read_mark(at, '-') && read_digits(at, 2, &m->date.day);
}

static bool read_time(const char **at, struct moment *m)
{
	return read_letter(at, 'T') && read_digits(at, 2, &m->hour) && read_mark(at, ':') &&
	       read_digits(at, 2, &m->minute) && read_mark(at, ':') && read_digits(at, 2, &m->second);
}

/* What is finer than a microsecond is cut off. */
static bool read_fraction(const char **at, struct moment *m)
{
	if (!read_mark(at, '.'))
		return true;
	int count = 0;
	for (int64_t unit = 100000, digit; count < 10 && read_digits(at, 1, &digit); count++, unit /= 10)
		m->us += digit * unit;
	return count >= 1 && count <= 9;
}

static bool read_offset(const char **at, struct moment *m)
{
	int64_t hours, minutes;
	if (read_letter(at, 'Z'))
		return true;
	int sign = **at == '-' ? -1 : 1;
	if (!read_mark(at, '-') && !read_mark(at, '+'))
		return false;
	if (!read_digits(at, 2, &hours) || !read_mark(at, ':') || !read_digits(at, 2, &minutes))
		return false;
	m->offset_minutes = sign * (hours * 60 + minutes);
	return hours <= 23 && minutes <= 59;
}

static bool is_leap_year(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static bool is_possible(const struct moment *m)
{
	static const int days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	const struct date *d = &m->date;
	if (d->month < 1 || d->month > 12 || m->hour > 23 || m->minute > 59 || m->second > 60)
		return false;
	int last = days[d->month - 1] + (d->month == 2 && is_leap_year(d->year));
	return d->day >= 1 && d->day <= last;
}

/* A leap second ends a day of UTC (§5.7); it counts as the first second of the next, as POSIX has it. */
static bool is_leap_second_possible(int64_t unix_seconds)
{
	return floor_div(unix_seconds, SECONDS_PER_DAY) * SECONDS_PER_DAY == unix_seconds;
}

/* Both count in years that begin in March, so that the leap day is the last: then the months before month m
 * (0 is March) have (153 m + 2) / 5 days. Day 0 is 1970-01-01, which is day 719468 since 0000-03-01. */
static int64_t day_of_date(struct date d)
{
	int64_t year = d.year - (d.month <= 2);
	int64_t era = floor_div(year, 400);
	int64_t of_era = year - era * 400;
	int64_t of_year = (153 * ((d.month + 9) % 12) + 2) / 5 + d.day - 1;
	return era * DAYS_PER_ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static struct date date_of_day(int64_t day)
{
	int64_t era = floor_div(day + 719468, DAYS_PER_ERA);
	int64_t of_era = day + 719468 - era * DAYS_PER_ERA;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * of_year + 2) / 153;
	struct date date = { .day = of_year - (153 * month + 2) / 5 + 1, .month = month < 10 ? month + 3 : month - 9 };
	date.year = year + era * 400 + (date.month <= 2);
	return date;
}
