// rxdrop is a bare receive loop over the rings of an AF_XDP socket that somebody
// else made, registered a UMEM for and bound: each descriptor that comes goes
// straight back to the fill ring, and no byte of a frame is looked at. It is what
// BenchmarkNSAgainstC measures the driver against.
//
//	rxdrop FD FILL RX BUFFERS FRAMES
//
// FILL and RX are the entries of those rings, BUFFERS is how many of the UMEM's
// 4 KiB chunks to post at first, FRAMES how many frames to receive. It prints the
// microseconds of CPU time, in user and in kernel mode, that this took.
#include <linux/if_xdp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#ifndef SOL_XDP
#define SOL_XDP 283
#endif

enum { batch = 64, chunk = 4096 };

struct ring {
	uint32_t *producer, *consumer, *flags;
	void *entries;
	uint32_t mask;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct ring map_ring(int fd, off_t at, const struct xdp_ring_offset *o, uint32_t entries, size_t size)
{
	char *m = mmap(NULL, o->desc + entries * size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, at);
	if (m == MAP_FAILED)
		die("mmap");
	return (struct ring){
		(uint32_t *)(m + o->producer), (uint32_t *)(m + o->consumer), (uint32_t *)(m + o->flags), m + o->desc, entries - 1,
	};
}

static long micros(struct timeval a, struct timeval b)
{
	return (b.tv_sec - a.tv_sec) * 1000000L + (b.tv_usec - a.tv_usec);
}

int main(int argc, char **argv)
{
	if (argc != 6)
		return 2;
	int fd = atoi(argv[1]);
	uint32_t buffers = atoi(argv[4]);
	long frames = atol(argv[5]);
	struct xdp_mmap_offsets off;
	socklen_t len = sizeof off;
	if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len))
		die("XDP_MMAP_OFFSETS");
	struct ring fill = map_ring(fd, XDP_UMEM_PGOFF_FILL_RING, &off.fr, atoi(argv[2]), sizeof(uint64_t));
	struct ring rx = map_ring(fd, XDP_PGOFF_RX_RING, &off.rx, atoi(argv[3]), sizeof(struct xdp_desc));
	uint64_t *posts = fill.entries;
	struct xdp_desc *descs = rx.entries;

	uint32_t posted = 0, taken = 0;
	for (; posted < buffers; posted++)
		posts[posted & fill.mask] = (uint64_t)posted * chunk;
	__atomic_store_n(fill.producer, posted, __ATOMIC_RELEASE);
	puts("ready");
	fflush(stdout);

	struct rusage from, to;
	getrusage(RUSAGE_SELF, &from);
	for (long got = 0; got < frames;) {
		uint32_t n = __atomic_load_n(rx.producer, __ATOMIC_ACQUIRE) - taken;
		if (n == 0) {
			struct pollfd p = { .fd = fd, .events = POLLIN };
			if (poll(&p, 1, 30000) <= 0)
				die("poll");
			continue;
		}
		if (n > batch)
			n = batch;
		for (uint32_t i = 0; i < n; i++)
			posts[posted++ & fill.mask] = descs[taken++ & rx.mask].addr / chunk * chunk;
		__atomic_store_n(rx.consumer, taken, __ATOMIC_RELEASE);
		__atomic_store_n(fill.producer, posted, __ATOMIC_RELEASE);
		if (__atomic_load_n(fill.flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP)
			recvfrom(fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
		got += n;
	}
	getrusage(RUSAGE_SELF, &to);
	printf("%ld %ld\n", micros(from.ru_utime, to.ru_utime), micros(from.ru_stime, to.ru_stime));
	return 0;
}
