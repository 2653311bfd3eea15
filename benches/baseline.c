/*
 * What the benchmarks measure against: the same calls as a C programmer writes them, and what a
 * measurement needs and only C reaches.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <libnvpair.h>
#include <libzfs_core.h>

int baseline_init(void);
int baseline_snapshot(const char *const *names, size_t count);
int baseline_cpu_ns(uint64_t *ns);
int baseline_answer_snapshots(void);
int baseline_list(const char *root, int what, uint64_t *count, uint64_t *sum);

int
baseline_init(void)
{
	return libzfs_core_init();
}

/* Creates `count` snapshots in one transaction group; 0 or an errno. */
int
baseline_snapshot(const char *const *names, size_t count)
{
	nvlist_t *snaps = NULL, *failures = NULL;
	int error = nvlist_alloc(&snaps, NV_UNIQUE_NAME, 0);

	for (size_t i = 0; error == 0 && i < count; i++)
		error = nvlist_add_boolean(snaps, names[i]);
	if (error == 0)
		error = lzc_snapshot(snaps, NULL, &failures);
	nvlist_free(failures);
	nvlist_free(snaps);
	return error;
}

/*
 * Where zfs_cmd_t, which no installed header has, keeps what a list needs.
 */
enum {
	CMD_SIZE = 13744,
	CMD_NAME = 0,
	CMD_DST = 4112,
	CMD_DST_SIZE = 4120,
	CMD_COOKIE = 12616,
	CMD_SIMPLE = 13668,
	DST_SIZE = 64 * 1024,
};

/* What is listed of each snapshot. */
enum { LIST_NAMES, LIST_FIGURES, LIST_ALL, LIST_UNREAD };

static void
cmd_set(char *cmd, size_t field, uint64_t value)
{
	memcpy(cmd + field, &value, sizeof (value));
}

/* The next entry below `of`: 0, an errno, or ESRCH at the end. */
static int
list_next(int fd, unsigned long request, char *cmd, const char *of)
{
	strcpy(cmd + CMD_NAME, of);
	return ioctl(fd, request, cmd) == 0 ? 0 : errno;
}

/* Adds up what was asked for of one answer. */
static int
list_read(char *dst, const char *cmd, int what, uint64_t *sum)
{
	static const char *const figures[] = { "creation", "used", "referenced" };
	nvlist_t *all = NULL, *one;
	uint64_t size, value;
	int error;

	memcpy(&size, cmd + CMD_DST_SIZE, sizeof (size));
	if ((error = nvlist_unpack(dst, size, &all, 0)) != 0)
		return error;
	for (size_t i = 0; what == LIST_FIGURES && i < 3 && error == 0; i++) {
		error = nvlist_lookup_nvlist(all, figures[i], &one);
		if (error == 0)
			error = nvlist_lookup_uint64(one, "value", &value);
		if (error == 0)
			*sum += value;
	}
	nvlist_free(all);
	return error;
}

/*
 * Lists the snapshots of the datasets immediately below `root`: how many there are, and the sum of
 * their figures, or of the lengths of their names.
 */
int
baseline_list(const char *root, int what, uint64_t *count, uint64_t *sum)
{
	char *parent = calloc(1, CMD_SIZE), *child = calloc(1, CMD_SIZE);
	char *dst = malloc(DST_SIZE);
	int fd = open("/dev/zfs", O_RDWR | O_CLOEXEC);
	int error = 0;

	*count = *sum = 0;
	if (parent == NULL || child == NULL || dst == NULL)
		error = ENOMEM;
	else if (fd < 0)
		error = errno;
	while (error == 0) {
		error = list_next(fd, ZFS_IOC_DATASET_LIST_NEXT, parent, root);
		if (error != 0)
			break;
		memset(child, 0, CMD_SIZE);
		for (;;) {
			if (what == LIST_NAMES) {
				child[CMD_SIMPLE] = 1;
			} else {
				cmd_set(child, CMD_DST, (uint64_t)(uintptr_t)dst);
				cmd_set(child, CMD_DST_SIZE, DST_SIZE);
			}
			error = list_next(fd, ZFS_IOC_SNAPSHOT_LIST_NEXT, child, parent);
			if (error != 0)
				break;
			++*count;
			if (what == LIST_NAMES)
				*sum += strlen(child);
			else if (what != LIST_UNREAD)
				error = list_read(dst, child, what, sum);
			if (error != 0)
				break;
		}
		if (error == ESRCH)
			error = 0;
	}
	if (fd >= 0)
		close(fd);
	free(dst);
	free(child);
	free(parent);
	return error == ESRCH ? 0 : error;
}

/* CPU time, user and system, of this thread and of the children that were waited for. */
int
baseline_cpu_ns(uint64_t *ns)
{
	struct timespec own;
	struct rusage children;

	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &own) != 0 ||
	    getrusage(RUSAGE_CHILDREN, &children) != 0)
		return errno;
	*ns = (uint64_t)own.tv_sec * 1000000000 + (uint64_t)own.tv_nsec +
	    (uint64_t)(children.ru_utime.tv_sec + children.ru_stime.tv_sec) * 1000000000 +
	    (uint64_t)(children.ru_utime.tv_usec + children.ru_stime.tv_usec) * 1000;
	return 0;
}

/*
 * From here on the kernel answers this thread's snapshot requests with success at its door and
 * without doing anything: what is left of a call is what it does outside the kernel.
 */
int
baseline_answer_snapshots(void)
{
	/* The request's number is in the low half of a 64-bit argument. */
	const unsigned request = offsetof(struct seccomp_data, args[1])
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	    + 4
#endif
	    ;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, request),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ZFS_IOC_SNAPSHOT, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof (code) / sizeof (code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
		return errno;
	return 0;
}
