// A receiver by the kernel's zero-copy receive over liburing, and its sender,
// written without a line of zctap: what it receives proves the lab, and not us.
//
//   zcrx send ADDRESS PORT BYTES
//   zcrx recv INTERFACE QUEUE PORT BYTES PAGES [FRAMES-FILE]
//
// recv registers an area of PAGES pages with receive queue QUEUE of INTERFACE
// ("nodev" 0: with no device), accepts one connection and receives BYTES by
// RECV_ZC, comparing every byte with what send sends. It prints one JSON object,
// and writes the page frame numbers of the pages that payload came in to
// FRAMES-FILE, 8 bytes each. The exit code is 0 if all bytes came and were right.
#define _GNU_SOURCE
#include <linux/io_uring.h>
#include <linux/io_uring/zcrx.h>

#include <liburing.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAGE = 4096, RQ_ENTRIES = 4096, CQ_ENTRIES = 4096 };

// User data of the requests.
enum { DATA = 1, EVENT = 2 };

static void fail(const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, strerror(err));
	exit(1);
}

// word is the stream's 8-byte word at index i (splitmix64).
static __u64 word(__u64 i)
{
	__u64 z = (i + 1) * 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static unsigned char byte_at(__u64 off)
{
	return word(off / 8) >> (off % 8 * 8);
}

static struct sockaddr_in address(const char *ip, const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};

	if (ip && inet_pton(AF_INET, ip, &a.sin_addr) != 1)
		fail(ip, EINVAL);
	return a;
}

static int send_stream(char **arg)
{
	static unsigned char buf[256 << 10];
	struct sockaddr_in to = address(arg[0], arg[1]);
	__u64 total = strtoull(arg[2], NULL, 0), off = 0;
	int fd = -1;

	for (int tries = 0;; tries++) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
			break;
		if (tries == 200)
			fail("connect", errno);
		close(fd);
		usleep(50000); // the receiver is not there yet
	}
	while (off < total) {
		size_t n = total - off < sizeof(buf) ? total - off : sizeof(buf);

		for (size_t i = 0; i < n; i += 8) {
			__u64 w = word((off + i) / 8);

			memcpy(buf + i, &w, 8);
		}
		for (size_t done = 0; done < n;) {
			ssize_t k = write(fd, buf + done, n - done);

			if (k < 0)
				fail("write", errno);
			done += k;
		}
		off += n;
	}
	shutdown(fd, SHUT_WR);
	while (read(fd, buf, sizeof(buf)) > 0)
		;
	return 0;
}

struct receiver {
	struct io_uring ring;
	unsigned char *area;
	size_t pages;
	__u32 id;
	__u64 area_token;

	void *rq; // the refill ring's memory
	__u32 *rq_head, *rq_tail, rq_local_tail;
	struct io_uring_zcrx_rqe *rqes;
	struct zcrx_stats *stats;
	bool nodev;

	__u64 got, wrong, completions, rearmed, alloc_fail;
	bool *used; // pages that payload came in
};

static void register_queue(struct receiver *r, const char *iface, unsigned queue)
{
	size_t rq_size = PAGE + RQ_ENTRIES * sizeof(struct io_uring_zcrx_rqe);
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_CQE32 | IORING_SETUP_CQSIZE,
		.cq_entries = CQ_ENTRIES,
	};
	int ret = io_uring_queue_init_params(64, &r->ring, &p);

	if (ret < 0)
		fail("io_uring_setup", -ret);
	r->area = mmap(NULL, r->pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	r->rq = mmap(NULL, rq_size + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (r->area == MAP_FAILED || r->rq == MAP_FAILED)
		fail("mmap", errno);

	struct io_uring_zcrx_area_reg area = {.addr = (__u64)(unsigned long)r->area, .len = r->pages * PAGE};
	struct io_uring_region_desc region = {
		.user_addr = (__u64)(unsigned long)r->rq,
		.size = rq_size + PAGE,
		.flags = IORING_MEM_REGION_TYPE_USER,
	};
	struct zcrx_event_desc events = {
		.user_data = EVENT,
		.type_mask = 1 << ZCRX_EVENT_ALLOC_FAIL,
		.flags = ZCRX_EVENT_DESC_FLAG_STATS,
		.stats_offset = rq_size,
	};
	struct io_uring_zcrx_ifq_reg reg = {
		.if_rxq = queue,
		.rq_entries = RQ_ENTRIES,
		.area_ptr = (__u64)(unsigned long)&area,
		.region_ptr = (__u64)(unsigned long)&region,
		.event_desc = (__u64)(unsigned long)&events,
	};
	if (strcmp(iface, "nodev") == 0) {
		reg.flags = ZCRX_REG_NODEV;
		r->nodev = true;
	} else {
		reg.if_idx = if_nametoindex(iface);
	}
	// The queue of a receiver that has ended gets free a while later.
	for (int tries = 0; tries < 1500; tries++) {
		ret = io_uring_register(r->ring.ring_fd, IORING_REGISTER_ZCRX_IFQ, &reg, 1);
		if (ret != -EEXIST)
			break;
		usleep(20000);
	}
	if (ret < 0)
		fail("register the interface queue", -ret);
	r->id = reg.zcrx_id;
	r->area_token = area.rq_area_token;
	r->rq_head = (__u32 *)((char *)r->rq + reg.offsets.head);
	r->rq_tail = (__u32 *)((char *)r->rq + reg.offsets.tail);
	r->rqes = (struct io_uring_zcrx_rqe *)((char *)r->rq + reg.offsets.rqes);
	r->stats = (struct zcrx_stats *)((char *)r->rq + rq_size);
}

static void control(struct receiver *r, __u32 op, __u32 event)
{
	struct zcrx_ctrl c = {.zcrx_id = r->id, .op = op};

	if (op == ZCRX_CTRL_ARM_EVENT)
		c.zc_arm_event.event_type = event;
	int ret = io_uring_register(r->ring.ring_fd, IORING_REGISTER_ZCRX_CTRL, &c, 0);

	if (ret < 0)
		fail("zcrx control", -ret);
}

static void arm(struct receiver *r, int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);

	io_uring_prep_rw(IORING_OP_RECV_ZC, sqe, fd, NULL, 0, 0);
	sqe->ioprio |= IORING_RECV_MULTISHOT;
	sqe->zcrx_ifq_idx = r->id;
	sqe->user_data = DATA;
}

// With BARE it only counts: what the kernel's part of receiving costs.
static void verify(struct receiver *r, const unsigned char *p, size_t n)
{
#ifdef BARE
	(void)p, (void)byte_at;
#else
	for (size_t i = 0; i < n;) {
		__u64 off = r->got + i, w;

		if (off % 8 == 0 && n - i >= 8) {
			memcpy(&w, p + i, 8);
			if (w != word(off / 8))
				r->wrong++;
			i += 8;
		} else {
			r->wrong += p[i] != byte_at(off);
			i++;
		}
	}
#endif
	r->got += n;
}

// data handles a completion of RECV_ZC; false at the stream's end.
static bool data(struct receiver *r, struct io_uring_cqe *cqe, int fd)
{
	if (!(cqe->flags & IORING_CQE_F_MORE)) {
		if (cqe->res == 0)
			return false;
		if (cqe->res != -ENOMEM && cqe->res != -ENOSPC)
			fail("RECV_ZC", -cqe->res);
		control(r, ZCRX_CTRL_FLUSH_RQ, 0);
		r->rearmed++;
		arm(r, fd);
		return true;
	}
	struct io_uring_zcrx_cqe *z = (struct io_uring_zcrx_cqe *)(cqe + 1);
	__u64 off = z->off & ~IORING_ZCRX_AREA_MASK;

	r->completions++;
	r->used[off / PAGE] = true;
	verify(r, r->area + off, cqe->res);

	r->rqes[r->rq_local_tail & (RQ_ENTRIES - 1)] =
		(struct io_uring_zcrx_rqe){.off = off | r->area_token, .len = cqe->res};
	r->rq_local_tail++;
	return true;
}

static void receive(struct receiver *r, int fd)
{
	bool more = true;

	arm(r, fd); // the event is armed since the registration
	while (more) {
		struct io_uring_cqe *cqe;
		unsigned head, n = 0;
		int ret = io_uring_submit_and_wait(&r->ring, 1);

		if (ret < 0 && ret != -EINTR)
			fail("io_uring_enter", -ret);
		io_uring_for_each_cqe(&r->ring, head, cqe) {
			n++;
			if (cqe->user_data == DATA) {
				more = data(r, cqe, fd) && more;
			} else {
				r->alloc_fail++;
				// What is in the refill ring is taken when it is asked for.
				__atomic_store_n(r->rq_tail, r->rq_local_tail, __ATOMIC_RELEASE);
				control(r, ZCRX_CTRL_FLUSH_RQ, 0);
				control(r, ZCRX_CTRL_ARM_EVENT, ZCRX_EVENT_ALLOC_FAIL);
			}
		}
		io_uring_cq_advance(&r->ring, n);
		__atomic_store_n(r->rq_tail, r->rq_local_tail, __ATOMIC_RELEASE);
		if (r->nodev)
			control(r, ZCRX_CTRL_FLUSH_RQ, 0);
	}
}

// write_frames writes the page frame numbers of the pages used, and returns
// how many they are.
static size_t write_frames(struct receiver *r, const char *name)
{
	int map = open("/proc/self/pagemap", O_RDONLY);
	FILE *out = name ? fopen(name, "wb") : NULL;
	size_t n = 0;

	for (size_t i = 0; i < r->pages; i++) {
		__u64 entry, pfn;

		if (!r->used[i])
			continue;
		n++;
		if (!out)
			continue;
		if (pread(map, &entry, 8, ((unsigned long)r->area / PAGE + i) * 8) != 8)
			fail("pagemap", errno);
		pfn = entry & ((1ull << 55) - 1);
		fwrite(&pfn, 8, 1, out);
	}
	if (out && fclose(out) != 0)
		fail(name, errno);
	close(map);
	return n;
}

// cpu_seconds is the CPU time that the process has taken.
static double cpu_seconds(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static int receive_stream(int argc, char **arg)
{
	struct receiver r = {.pages = strtoull(arg[4], NULL, 0)};
	__u64 want = strtoull(arg[3], NULL, 0);
	struct sockaddr_in at = address(NULL, arg[2]);
	int one = 1, ln = socket(AF_INET, SOCK_STREAM, 0);

	r.used = calloc(r.pages, sizeof(*r.used));
	register_queue(&r, arg[0], atoi(arg[1]));
	setsockopt(ln, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(ln, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(ln, 1) < 0)
		fail("listen", errno);
	int fd = accept(ln, NULL, NULL);

	if (fd < 0)
		fail("accept", errno);
	double cpu = cpu_seconds();

	receive(&r, fd);
	cpu = cpu_seconds() - cpu;
	size_t frames = write_frames(&r, argc > 5 ? arg[5] : NULL);

	printf("{\"bytes\": %llu, \"mismatches\": %llu, \"completions\": %llu, \"copy_count\": %llu, "
	       "\"copied_bytes\": %llu, \"alloc_fail\": %llu, \"rearmed\": %llu, \"frames\": %zu, \"cpu_seconds\": %.6f}\n",
	       r.got, r.wrong, r.completions, r.stats->copy_count, r.stats->copy_bytes, r.alloc_fail, r.rearmed, frames, cpu);
	return r.got == want && r.wrong == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "send") == 0)
		return send_stream(argv + 2);
	if ((argc == 7 || argc == 8) && strcmp(argv[1], "recv") == 0)
		return receive_stream(argc - 2, argv + 2);
	fprintf(stderr, "usage: zcrx send ADDRESS PORT BYTES | recv INTERFACE QUEUE PORT BYTES PAGES [FRAMES-FILE]\n");
	return 2;
}
