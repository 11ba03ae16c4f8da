#include <inttypes.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "server-ref/setup.h"

static const char head[] =
    "; autoenroll-server-ref: a CA, its policy servers (CEP) and its enrollment servers (CES).\n"
    "; The words are those of AD CS. 'serve' reads this when it starts, every command each time.\n"
    "\n"
    "[ca]\n"
    "CAConfig = %s\\%s\n"
    "; an account without a section of its own has the host name ACCOUNT.example\n"
    "Domain = example\n"
    "EditFlags = EDITF_ENABLERENEWONBEHALFOF\n"
    "AllowSHA1 = no\n"
    "MaximumValidity = 1825d\n"
    "; permissions: names of accounts, or everyone\n"
    "Read = everyone\n"
    "RequestCertificates = everyone\n"
    "\n"
    "[policy]\n"
    "ID = %s\n"
    "FriendlyName = %s policy\n"
    "NextUpdateHours = 8\n"
    "MaximumVersion = 6\n"
    "\n"
    "[limits]\n"
    "; for one request from its first byte; without any byte; of a request\n"
    "Deadline = 10s\n"
    "Idle = 30s\n"
    "Header = 65536\n"
    "Body = 1048576\n"
    "\n"
    "[cep \"username\"]\n"
    "AuthenticationType = UserName\n"
    "\n"
    "[cep \"renewal\"]\n"
    "AuthenticationType = Certificate\n"
    "KeyBasedRenewal = yes\n"
    "\n"
    "[ces \"username\"]\n"
    "AuthenticationType = UserName\n"
    "Priority = 10\n"
    "\n"
    "[ces \"renewal\"]\n"
    "AuthenticationType = Certificate\n"
    "RenewalOnly = yes\n"
    "AllowKeyBasedRenewal = yes\n"
    "Priority = 1\n"
    "\n"
    "; what a directory would know about an account\n"
    ";[account \"alice\"]\n"
    ";DNS = alice.example\n"
    ";SID = S-1-5-21-1-2-3-1104\n";

/* Per template: name, what it is for, and its lines but for those that all of them have. */
static const struct {
    const char *name;
    const char *remark;
    const char *lines;
} templates[] = {
    {"Machine", "subject and DNS name from the account; every client knows this kind",
        "SchemaVersion = 1\nMajorRevision = 5\nMinorRevision = 1\nGeneralFlags = 0x10260\nNameFlags = 0x18000000\n"
        "EnrollmentFlags = 0x20\nMinimalKeySize = 2048\nKeySpec = 1\n"
        "ApplicationPolicies = client authentication, server authentication\n"
        "Providers = Microsoft RSA SChannel Cryptographic Provider\n"
        "Enroll = everyone\nAutoenroll = everyone\n"},
    {"Workstation", "subject from the request, then renewed by its own key alone",
        "SchemaVersion = 2\nMajorRevision = 100\nMinorRevision = 3\nGeneralFlags = 0x20260\nNameFlags = 0x1\n"
        "EnrollmentFlags = 0x10060\nMinimalKeySize = 2048\nKeySpec = 1\n"
        "ApplicationPolicies = client authentication, server authentication\n"
        "Providers = Microsoft RSA SChannel Cryptographic Provider\n"
        "Enroll = everyone\nAutoenroll = everyone\n"},
    {"DeviceEC", "the same with a key on P-256",
        "SchemaVersion = 4\nMajorRevision = 100\nMinorRevision = 2\nGeneralFlags = 0x20260\nNameFlags = 0x1\n"
        "EnrollmentFlags = 0x10060\nPrivateKeyFlags = 0x4040000\nAlgorithm = ECDSA_P256\nMinimalKeySize = 256\n"
        "HashAlgorithm = SHA-256\nKeyUsage = 0x80\n"
        "ApplicationPolicies = client authentication\n"
        "Enroll = everyone\nAutoenroll = everyone\n"},
    {"Approved", "a person approves the first request and each renewal",
        "SchemaVersion = 2\nMajorRevision = 100\nMinorRevision = 1\nGeneralFlags = 0x20260\nNameFlags = 0x1\n"
        "EnrollmentFlags = 0x2\nMinimalKeySize = 2048\nKeySpec = 1\n"
        "ApplicationPolicies = client authentication\n"
        "Providers = Microsoft RSA SChannel Cryptographic Provider\n"
        "Enroll = everyone\n"},
    {"NoAuto", "may be enrolled for, but by nobody automatically",
        "SchemaVersion = 2\nMajorRevision = 100\nMinorRevision = 1\nGeneralFlags = 0x20260\nNameFlags = 0x1\n"
        "EnrollmentFlags = 0\nMinimalKeySize = 2048\nKeySpec = 1\n"
        "ApplicationPolicies = server authentication\n"
        "Providers = Microsoft RSA SChannel Cryptographic Provider\n"
        "Enroll = everyone\n"},
};

static void random_bytes(unsigned char *out, size_t len)
{
    if (RAND_bytes(out, (int)len) != 1)
        abort();
}

/* As AD CS has them: six random arcs, each below 2^24 so that every client can count so far, then 1 and a number. */
static char *new_oid_base(void)
{
    CLEANUP(strlist_clear) struct strlist arcs = {0};

    strlist_add(&arcs, "1.3.6.1.4.1.311.21.8");
    for (int i = 0; i < 6; i++) {
        unsigned char random[3];
        CLEANUP(mem_freep) char *arc = NULL;

        random_bytes(random, sizeof(random));
        arc = mem_printf("%u", (unsigned)random[0] << 16 | (unsigned)random[1] << 8 | random[2]);
        strlist_add(&arcs, arc);
    }
    return strlist_join(&arcs, ".");
}

static char *new_guid(void)
{
    unsigned char r[16];

    random_bytes(r, sizeof(r));
    return mem_printf("{%02X%02X%02X%02X-%02X%02X-4%X%02X-%X%X%02X-%02X%02X%02X%02X%02X%02X}", r[0], r[1], r[2], r[3],
        r[4], r[5], r[6] & 0xf, r[7], 8 | (r[8] & 3), r[8] >> 4, r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
}

char *setup_config_text(const struct setup_options *options)
{
    CLEANUP(mem_freep) char *guid = new_guid();
    CLEANUP(mem_freep) char *base = new_oid_base();
    const char *host = options->hosts.n ? options->hosts.items[0] : "localhost";
    char *text = mem_printf(head, host, options->ca_name, guid, options->ca_name);

    for (size_t i = 0; i < ARRAY_SIZE(templates); i++) {
        char *longer = mem_printf("%s\n; %s\n[template \"%s\"]\nOID = %s.1.%zu\n%sValidityPeriod = 365d\n"
                                  "RenewalPeriod = 42d\nRead = everyone\n",
            text, templates[i].remark, templates[i].name, base, i + 1, templates[i].lines);

        free(text);
        text = longer;
    }
    return text;
}
