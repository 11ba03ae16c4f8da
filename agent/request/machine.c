#include "agent/request/machine.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MAX_LINE 1024

static void closep(FILE **file)
{
    if (*file)
        (void)fclose(*file);
}

static FILE *open_file(const char *root, const char *path)
{
    CLEANUP(mem_freep) char *whole = mem_printf("%s%s", root, path);

    return fopen(whole, "re");
}

/* Letters, digits, "-" and "." only: a name that may stand in a certificate. */
static bool is_host_name(const char *text)
{
    size_t n = strlen(text);

    if (!n || n > MACHINE_MAX_NAME || *text == '.' || *text == '-')
        return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && *text != '-' && *text != '.')
            return false;
    return true;
}

/* The first word of the first line that is no comment. Returns owned, or NULL. */
static char *first_word(const char *root, const char *path)
{
    CLEANUP(closep) FILE *file = open_file(root, path);
    char line[MAX_LINE];

    while (file && fgets(line, sizeof(line), file)) {
        char *rest = NULL;
        char *word = strtok_r(line, " \t\r\n", &rest);

        if (word && *word != '#')
            return mem_strdup(word);
    }
    return NULL;
}

/* The name with a dot on the line of /etc/hosts that holds @hostname. Returns owned, or NULL. */
static char *qualified(const char *root, const char *hostname)
{
    CLEANUP(closep) FILE *file = open_file(root, "/etc/hosts");
    char line[MAX_LINE];

    while (file && fgets(line, sizeof(line), file)) {
        char *rest = NULL;
        char *word;
        CLEANUP(mem_freep) char *dotted = NULL;
        bool ours = false;

        line[strcspn(line, "#")] = '\0';
        if (!strtok_r(line, " \t\r\n", &rest))
            continue;
        while ((word = strtok_r(NULL, " \t\r\n", &rest))) {
            ours |= strcasecmp(word, hostname) == 0;
            if (!dotted && strchr(word, '.') && is_host_name(word) &&
                strncasecmp(word, hostname, strlen(hostname)) == 0 && word[strlen(hostname)] == '.')
                dotted = mem_strdup(word);
        }
        if (ours && dotted)
            return TAKE(dotted);
    }
    return NULL;
}

static char *os_version(void)
{
    struct utsname name;
    unsigned part[3] = {0};

    if (uname(&name) < 0)
        return NULL;
    (void)sscanf(name.release, "%u.%u.%u", &part[0], &part[1], &part[2]);
    return mem_printf("%u.%u.%u.2", part[0], part[1], part[2]); /* 2: what every Windows NT says of itself */
}

void machine_read(const char *root, struct machine *machine)
{
    CLEANUP(mem_freep) char *name = first_word(root, "/etc/hostname");
    char running[MACHINE_MAX_NAME + 1] = "";

    *machine = (struct machine){.id = first_word(root, "/etc/machine-id"), .os_version = os_version()};
    if (!name && !*root && gethostname(running, sizeof(running) - 1) == 0)
        name = mem_strdup(running);
    if (!name || !is_host_name(name))
        return;
    machine->hostname = mem_strndup(name, strcspn(name, "."));
    machine->fqdn = strchr(name, '.') ? TAKE(name) : qualified(root, machine->hostname);
}

void machine_clear(struct machine *machine)
{
    free(machine->hostname);
    free(machine->fqdn);
    free(machine->id);
    free(machine->os_version);
    *machine = (struct machine){0};
}
