/*
 * enter NAMES PROGRAM ARGUMENT...: becomes PROGRAM as a unit would be that allows only the system calls and the address
 * families (AF_UNIX ...) named in the file NAMES, refuses the others with EPERM, and has MemoryDenyWriteExecute= (where
 * the kernel knows PR_SET_MDWE, which is stricter than what systemd does).
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE              65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

static const struct {
    const char *name;
    int number;
} families[] = {{"AF_UNIX", AF_UNIX}, {"AF_INET", AF_INET}, {"AF_INET6", AF_INET6}};

/* True when @name is a family, whose sockets are then allowed. */
static int allow_family(scmp_filter_ctx filter, const char *name)
{
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (strcmp(families[i].name, name) == 0)
            return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                       SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i].number)) == 0;
    return 0;
}

/* How many there were. */
static int allow(scmp_filter_ctx filter, const char *names)
{
    FILE *file = fopen(names, "r");
    char name[64];
    int n = 0;

    if (!file)
        return -1;
    while (fscanf(file, "%63s", name) == 1) {
        int number = seccomp_syscall_resolve_name(name);

        if (allow_family(filter, name))
            n++;
        else if (number == __NR_SCMP_ERROR || number == SCMP_SYS(socket))
            continue; /* systemd names those of every architecture; sockets are allowed by their family */
        else if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0) == 0)
            n++;
    }
    (void)fclose(file);
    return n;
}

int main(int argc, char **argv)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));

    if (argc < 3 || !filter || allow(filter, argv[1]) < 100) {
        fprintf(stderr, "enter: no system calls to allow\n");
        return 125;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) < 0 && errno != EINVAL) || seccomp_load(filter) < 0) {
        fprintf(stderr, "enter: %s\n", strerror(errno));
        return 125;
    }
    execv(argv[2], argv + 2);
    fprintf(stderr, "enter: %s: %s\n", argv[2], strerror(errno));
    return 126;
}
