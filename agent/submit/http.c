#include "agent/submit/http.h"

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/submit/http_tls.h"
#include "protocol/base/when.h"

#define SCHEME      "https://"
#define MAX_HEADERS (64u << 10) /* bytes of header lines in one answer */

void http_url_clear(struct http_url *url)
{
    free(url->text);
    free(url->host);
    *url = (struct http_url){0};
}

void http_answer_clear(struct http_answer *answer)
{
    free(answer->content_type);
    free(answer->location);
    bytes_clear(&answer->body);
    *answer = (struct http_answer){0};
}

static void curl_url_cleanupp(CURLU **url)
{
    curl_url_cleanup(*url);
}

static void curl_textp(char **text)
{
    curl_free(*text);
}

/* Lower case in ASCII alone, whatever the locale is. */
static char *lower(const char *text)
{
    char *out = mem_strdup(text);

    for (char *c = out; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    return out;
}

int http_url_parse(const char *text, struct http_url *url, struct err **errp)
{
    CLEANUP(curl_url_cleanupp) CURLU *parts = curl_url();
    CLEANUP(curl_textp) char *host = NULL;
    CLEANUP(curl_textp) char *port = NULL;
    CLEANUP(curl_textp) char *whole = NULL;
    CURLUcode code;

    if (!parts)
        return err_set(errp, ERR_INTERNAL, "no memory for a URL");
    if (strlen(text) > HTTP_MAX_URL)
        return err_set(errp, ERR_INVALID, "the URL is longer than %d characters", HTTP_MAX_URL);
    if (strncasecmp(text, SCHEME, strlen(SCHEME)) != 0 || strchr("/\\?#", text[strlen(SCHEME)])) {
        err_set(errp, ERR_INVALID, "'%s' is not an https address", text);
        return err_hint(errp, "credentials and requests travel inside TLS only: use the https:// address");
    }
    /* Blanks are escaped and what is escaped stays so: AD CS writes CA names both ways. */
    code = curl_url_set(parts, CURLUPART_URL, text, CURLU_URLENCODE | CURLU_DISALLOW_USER | CURLU_NON_SUPPORT_SCHEME);
    if (code)
        return err_set(errp, ERR_INVALID, "'%s' is no usable URL: %s", text, curl_url_strerror(code));
    if (curl_url_get(parts, CURLUPART_HOST, &host, 0) ||
        curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) ||
        curl_url_get(parts, CURLUPART_URL, &whole, CURLU_URLENCODE))
        return err_set(errp, ERR_INVALID, "'%s' names no host", text);
    *url = (struct http_url){.text = mem_strdup(whole), .host = lower(host), .port = (uint16_t)strtoul(port, NULL, 10)};
    return 0;
}

/* One exchange under way. */
struct exchange {
    const struct http_request *request; /* borrowed */
    const char *where;                  /* HOST:PORT for messages; borrowed */
    struct http_answer *answer;
    size_t header_bytes;
    bool too_long;
    int64_t retry_at; /* Retry-After as a date; 0: it was none */
    struct http_tls tls;
    char curl_says[CURL_ERROR_SIZE];
};

static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;

    if (n > x->request->answer_limit - x->answer->body.len ||
        bytes_append(&x->answer->body, data, size * n, NULL) < 0) {
        x->too_long = true;
        return 0;
    }
    return size * n;
}

/* The value of a header line when its name is @name, else NULL. Returns owned. */
static char *header_value(const char *line, size_t len, const char *name)
{
    size_t n = strlen(name);

    if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
        return NULL;
    line += n + 1;
    len -= n + 1;
    while (len && (*line == ' ' || *line == '\t')) {
        line++;
        len--;
    }
    while (len && strchr(" \t\r\n", line[len - 1]))
        len--;
    return mem_strndup(line, len);
}

/* Seconds or a date [RFC 9110 10.2.3]; anything else is as good as nothing. */
static void take_retry(struct exchange *x, const char *value)
{
    size_t digits = strspn(value, "0123456789");
    time_t when;

    if (digits && !value[digits]) {
        unsigned long long seconds = digits < 12 ? strtoull(value, NULL, 10) : UINT32_MAX;

        x->answer->retry_after =
            (struct opt_u32){.set = true, .value = seconds < UINT32_MAX ? (uint32_t)seconds : UINT32_MAX};
        return;
    }
    when = curl_getdate(value, NULL);
    x->retry_at = when > 0 ? when : 0;
}

/* How long it is until that date: the server's clock and ours may differ. */
static void count_from_date(const struct exchange *x, struct http_answer *answer)
{
    int64_t now = answer->date.set ? answer->date.value : when_now();
    int64_t wait = x->retry_at - now;

    if (x->retry_at && !answer->retry_after.set && wait > 0)
        answer->retry_after = (struct opt_u32){.set = true, .value = wait < UINT32_MAX ? (uint32_t)wait : UINT32_MAX};
}

static size_t take_header(char *line, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;
    size_t len = size * n;
    CLEANUP(mem_freep) char *date = header_value(line, len, "Date");
    CLEANUP(mem_freep) char *retry = header_value(line, len, "Retry-After");
    char *location = header_value(line, len, "Location");

    x->header_bytes += len;
    if (x->header_bytes > MAX_HEADERS) {
        free(location);
        x->too_long = true;
        return 0;
    }
    if (location) {
        free(x->answer->location);
        x->answer->location = location;
    }
    if (date) {
        time_t when = curl_getdate(date, NULL);

        x->answer->date = (struct opt_time){.set = when > 0, .value = when};
    }
    if (retry)
        take_retry(x, retry);
    return len;
}

static CURLcode prepare_tls(CURL *curl, void *ssl_ctx, void *arg)
{
    struct exchange *x = arg;

    (void)curl;
    return http_tls_prepare(&x->tls, ssl_ctx) < 0 ? CURLE_SSL_CERTPROBLEM : CURLE_OK;
}

/* What libcurl's codes mean to a person who runs the agent. Those not listed are a network failure in its own words. */
static const struct failure {
    CURLcode code;
    enum err_kind kind;
    const char *text;
    const char *hint;
} failures[] = {
    {CURLE_COULDNT_RESOLVE_HOST, ERR_NETWORK, "the host name cannot be resolved",
        "check the address in the configuration, and this machine's DNS"},
    {CURLE_COULDNT_CONNECT, ERR_NETWORK, "no connection",
        "check that the server runs, that its port is open in firewalls, and the port in the address"},
    {CURLE_OPERATION_TIMEDOUT, ERR_TIMEOUT, "no whole answer in time",
        "the server or the network is slow or stuck; it is tried again later"},
    {CURLE_PARTIAL_FILE, ERR_NETWORK, "the answer was cut off",
        "the connection broke in the middle; what was sent is kept and sent again later"},
    {CURLE_GOT_NOTHING, ERR_NETWORK, "the connection was closed without an answer",
        "look into the server's log; a proxy or firewall between may have closed it"},
    {CURLE_RECV_ERROR, ERR_NETWORK, "the connection broke while the answer came",
        "look into the server's log; a proxy or firewall between may have closed it"},
    {CURLE_SEND_ERROR, ERR_NETWORK, "the connection broke while the request was sent",
        "look into the server's log; a proxy or firewall between may have closed it"},
    {CURLE_SSL_CONNECT_ERROR, ERR_TLS, "TLS: no common ground with the server",
        "the server must speak TLS 1.2 or 1.3; look into its log, and for a device between that intercepts TLS"},
    {CURLE_SSL_CACERT_BADFILE, ERR_CONFIG, "the configured trust holds no certificate",
        "the file named by ca-file must hold the root CA certificate in PEM form"},
    {CURLE_PEER_FAILED_VERIFICATION, ERR_TLS, "TLS: the server could not be verified",
        "compare the server's certificate with the CA named by ca-file"},
    {CURLE_WEIRD_SERVER_REPLY, ERR_PROTOCOL, "the answer is not HTTP",
        "check the port in the address: another service seems to listen there"},
    {CURLE_UNSUPPORTED_PROTOCOL, ERR_PROTOCOL, "the answer is not HTTP/1.1",
        "check the port in the address: another service seems to listen there"},
};

static int explain(struct exchange *x, CURL *curl, CURLcode code, struct err **errp)
{
    const char *where = x->where;
    curl_off_t got = 0;

    if (x->too_long) {
        err_set(errp, ERR_PROTOCOL, "%s: the answer is longer than %zu bytes", where, x->request->answer_limit);
        return err_hint(errp, "no enrollment server answers that much: check the address in the configuration");
    }
    if (http_tls_explain(&x->tls, where, errp))
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
        const struct failure *f = &failures[i];

        if (f->code != code)
            continue;
        curl_easy_getinfo(curl, CURLINFO_SIZE_DOWNLOAD_T, &got);
        if (code == CURLE_OPERATION_TIMEDOUT)
            err_set(errp, f->kind, "%s: %s: %ld ms went by, %lld bytes came", where, f->text, x->request->limit_ms,
                (long long)got);
        else
            err_set(
                errp, f->kind, "%s: %s (%s)", where, f->text, *x->curl_says ? x->curl_says : curl_easy_strerror(code));
        return err_hint(errp, "%s", f->hint);
    }
    err_set(errp, ERR_NETWORK, "%s: %s", where, *x->curl_says ? x->curl_says : curl_easy_strerror(code));
    return err_hint(errp, "check the address in the configuration, and that the server runs");
}

static int set_options(CURL *curl, struct curl_slist *headers, struct exchange *x, const char *url)
{
    const struct http_request *r = x->request;
    struct curl_blob anchors = {.data = r->anchors->data, .len = r->anchors->len, .flags = CURL_BLOB_NOCOPY};
    int bad = 0;

#define SET(option, value) bad |= curl_easy_setopt(curl, CURLOPT_##option, value) != CURLE_OK
    SET(URL, url);
    SET(ERRORBUFFER, x->curl_says);
    SET(NOSIGNAL, 1L);
    SET(PROTOCOLS_STR, "https");
    SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(FOLLOWLOCATION, 0L);
    SET(PROXY, ""); /* what the environment says about proxies is not the administrator's word to us */
    SET(NETRC, (long)CURL_NETRC_IGNORED);
    SET(FORBID_REUSE, 1L);
    SET(SSL_SESSIONID_CACHE, 0L);
    SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(SSL_VERIFYPEER, 1L);
    SET(SSL_VERIFYHOST, 2L);
    SET(CAINFO_BLOB, &anchors);
    SET(CAPATH, NULL);
    SET(SSL_CTX_FUNCTION, prepare_tls);
    SET(SSL_CTX_DATA, x);
    SET(TIMEOUT_MS, r->limit_ms);
    SET(POST, 1L);
    SET(POSTFIELDS, bytes_text(r->body));
    SET(POSTFIELDSIZE_LARGE, (curl_off_t)r->body->len);
    SET(HTTPHEADER, headers);
    SET(USERAGENT, "autoenroll/" AE_VERSION);
    SET(WRITEFUNCTION, take_body);
    SET(WRITEDATA, x);
    SET(HEADERFUNCTION, take_header);
    SET(HEADERDATA, x);
#undef SET
    return bad ? -1 : 0;
}

static void curl_easy_cleanupp(CURL **curl)
{
    curl_easy_cleanup(*curl);
}

static void curl_slistp(struct curl_slist **list)
{
    curl_slist_free_all(*list);
}

/* Once something of the body has left, the server may act on it, whatever becomes of the answer. */
static void tell_sent(CURL *curl, const struct http_request *request)
{
    curl_off_t sent = 0;

    curl_easy_getinfo(curl, CURLINFO_SIZE_UPLOAD_T, &sent);
    if (request->sent)
        *request->sent = sent > 0;
}

static void read_facts(CURL *curl, struct http_answer *answer)
{
    const char *type = NULL;

    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
    curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
    answer->content_type = mem_strdup(type ? type : "");
}

int http_post(const struct http_request *request, struct http_answer *answer, struct err **errp)
{
    static const char *const lines[] = {
        "Content-Type: application/soap+xml; charset=utf-8", "Accept: application/soap+xml", "Expect:"};
    CLEANUP(curl_easy_cleanupp) CURL *curl = curl_easy_init();
    CLEANUP(curl_slistp) struct curl_slist *headers = NULL;
    CLEANUP(http_url_clear) struct http_url url = {0};
    CLEANUP(http_answer_clear) struct http_answer got = {0};
    CLEANUP(mem_freep) char *where = NULL;
    struct http_request timed = *request;
    struct exchange x = {.request = &timed, .answer = &got};
    CURLcode code;

    if (!timed.limit_ms)
        timed.limit_ms = HTTP_DEFAULT_LIMIT_MS;
    if (http_url_parse(request->url, &url, errp) < 0)
        return -1;
    x.where = where = mem_printf("%s:%u", url.host, url.port);
    x.tls = (struct http_tls){.host = url.host, .identity = request->identity};
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        headers = curl_slist_append(headers, lines[i]);
    if (!curl || !headers || set_options(curl, headers, &x, url.text) < 0) {
        err_set(errp, ERR_INTERNAL, "libcurl refuses our settings: %s", x.curl_says);
        return err_hint(errp, "autoenroll needs a libcurl that was built with OpenSSL");
    }
    code = curl_easy_perform(curl);
    tell_sent(curl, request);
    if (code)
        explain(&x, curl, code, errp);
    http_tls_clear(&x.tls);
    if (code)
        return -1;
    read_facts(curl, &got);
    count_from_date(&x, &got);
    *answer = got;
    got = (struct http_answer){0};
    return 0;
}
