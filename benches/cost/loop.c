/*
 * The floor that the agent is compared with: the same three files, kept open and read
 * again with pread(2), the same metrics as JSON, and one write(2) to a TCP connection.
 * No cryptography, no protocol, no error worth surviving.
 *
 *   loop ADDRESS PORT [INTERVAL-MS]
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char text[65536];

static int open_or_die(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static const char *read_again(int fd)
{
	ssize_t length = pread(fd, text, sizeof text - 1, 0);

	if (length < 0)
		err(1, "pread");
	text[length] = '\0';
	return text;
}

static unsigned long long field(const char *meminfo, const char *name)
{
	const char *at = strstr(meminfo, name);

	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

/* Of the first line of /proc/stat: busy share since the previous call, in percent. */
static double cpu_percent(const char *stat)
{
	static unsigned long long total_before, idle_before;
	unsigned long long state[8], total = 0, idle;
	char *at = (char *)stat + strlen("cpu ");
	double share = 0;

	for (int i = 0; i < 8; i++)
		total += state[i] = strtoull(at, &at, 10);
	idle = state[3] + state[4];
	if (total != total_before)
		share = 100.0 * (total - total_before - (idle - idle_before)) /
			(total - total_before);
	total_before = total;
	idle_before = idle;
	return share;
}

int main(int argc, char **argv)
{
	struct sockaddr_in peer = { .sin_family = AF_INET };
	struct timespec due;
	long interval_ms = argc > 3 ? atol(argv[3]) : 1000;
	int uptime, meminfo, stat, out;

	if (argc < 3 || inet_pton(AF_INET, argv[1], &peer.sin_addr) != 1 || interval_ms <= 0)
		errx(2, "usage: loop ADDRESS PORT [INTERVAL-MS]");
	peer.sin_port = htons((unsigned short)atoi(argv[2]));
	out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (out < 0 || connect(out, (struct sockaddr *)&peer, sizeof peer))
		err(1, "connect");
	uptime = open_or_die("/proc/uptime");
	meminfo = open_or_die("/proc/meminfo");
	stat = open_or_die("/proc/stat");

	clock_gettime(CLOCK_MONOTONIC, &due);
	for (;;) {
		char line[1024];
		double percent = cpu_percent(read_again(stat));
		double seconds = strtod(read_again(uptime), NULL);
		const char *mem = read_again(meminfo);
		int length = snprintf(line, sizeof line,
			"{\"sys.uptime\": %.2f, \"mem.free\": %llu, \"mem.avail\": %llu, "
			"\"mem.buffers\": %llu, \"mem.cached\": %llu, \"mem.swap.free\": %llu, "
			"\"mem.dirty\": %llu, \"mem.writeback\": %llu, \"cpu.percent\": %.2f}\n",
			seconds, field(mem, "MemFree:"), field(mem, "MemAvailable:"),
			field(mem, "Buffers:"), field(mem, "Cached:"), field(mem, "SwapFree:"),
			field(mem, "Dirty:"), field(mem, "Writeback:"), percent);

		if (write(out, line, (size_t)length) != length)
			err(1, "write");
		due.tv_sec += interval_ms / 1000;
		due.tv_nsec += interval_ms % 1000 * 1000000L;
		if (due.tv_nsec >= 1000000000L) {
			due.tv_nsec -= 1000000000L;
			due.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
	}
}
