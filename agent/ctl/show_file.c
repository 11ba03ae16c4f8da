#include "agent/ctl/show_file.h"

#include "agent/ctl/decode.h"
#include "protocol/base/printable.h"

/* Prints what can be read also of a broken message. */
int show_file(struct ctl *ctl, struct err **errp)
{
    CLEANUP(node_freep) struct node *tree = node_new();
    CLEANUP(bytes_wipe) struct bytes input = {0};
    CLEANUP(mem_freep) char *name = printable_text(ctl->arguments[0]);
    int r = decode_read(ctl->arguments[0], &input, errp);

    if (r < 0)
        return -1;
    r = decode(tree, &input, errp);
    if (r < 0)
        err_wrap(errp, "%s", name);
    if ((ctl->json ? node_print_json : node_print)(tree, stdout, errp) < 0)
        r = -1;
    return r;
}
