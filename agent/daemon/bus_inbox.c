#include "agent/daemon/bus_inbox.h"

#include <stdlib.h>
#include <string.h>

void bus_inbox_init(struct bus_inbox *inbox)
{
    TAILQ_INIT(&inbox->senders);
    inbox->n = 0;
}

static void sender_free(struct bus_inbox *inbox, struct bus_sender *sender)
{
    TAILQ_REMOVE(&inbox->senders, sender, link);
    for (size_t i = 0; i < sender->n; i++)
        dbus_message_unref(sender->waiting[i]);
    inbox->n -= sender->n;
    free(sender->waiting);
    free(sender->name);
    free(sender);
}

void bus_inbox_clear(struct bus_inbox *inbox)
{
    struct bus_sender *sender;

    while ((sender = TAILQ_FIRST(&inbox->senders)))
        sender_free(inbox, sender);
}

static struct bus_sender *sender_of(struct bus_inbox *inbox, const char *name)
{
    struct bus_sender *sender;

    TAILQ_FOREACH(sender, &inbox->senders, link)
    if (strcmp(sender->name, name) == 0)
        return sender;
    sender = mem_alloc(sizeof(*sender));
    sender->name = mem_strdup(name);
    TAILQ_INSERT_TAIL(&inbox->senders, sender, link);
    return sender;
}

bool bus_inbox_add(struct bus_inbox *inbox, DBusMessage *message)
{
    const char *name = dbus_message_get_sender(message);
    struct bus_sender *sender;

    if (inbox->n >= BUS_INBOX_MAX)
        return false;
    sender = sender_of(inbox, name ? name : "");
    if (sender->n >= BUS_INBOX_MAX_SENDER)
        return false;
    *MEM_APPEND(sender->waiting, sender->n) = dbus_message_ref(message);
    inbox->n++;
    return true;
}

DBusMessage *bus_inbox_next(struct bus_inbox *inbox, struct bus_sender **out)
{
    struct bus_sender *sender;
    DBusMessage *message;

    TAILQ_FOREACH(sender, &inbox->senders, link)
    if (sender->n && sender->checking < BUS_INBOX_MAX_CHECKING)
        break;
    if (!sender)
        return NULL;
    TAILQ_REMOVE(&inbox->senders, sender, link);
    TAILQ_INSERT_TAIL(&inbox->senders, sender, link);
    message = sender->waiting[0];
    sender->n--;
    inbox->n--;
    memmove(sender->waiting, sender->waiting + 1, sender->n * sizeof(*sender->waiting));
    *out = sender;
    return message;
}

void bus_inbox_release(struct bus_inbox *inbox, struct bus_sender *sender)
{
    if (sender->n == 0 && sender->checking == 0)
        sender_free(inbox, sender);
}
