#include "server-ref/misbehave.h"

#include <stddef.h>
#include <stdlib.h>

#include "server-ref/field.h"

static const struct field_word issue_words[] = {
    {"right", MISBEHAVE_ISSUE_RIGHT},
    {"ca", MISBEHAVE_ISSUE_CA},
    {"sha1", MISBEHAVE_ISSUE_SHA1},
    {"wrong-eku", MISBEHAVE_ISSUE_WRONG_EKU},
    {"other-root", MISBEHAVE_ISSUE_OTHER_ROOT},
    {"other-key", MISBEHAVE_ISSUE_OTHER_KEY},
    {"weak", MISBEHAVE_ISSUE_WEAK},
    {"expired", MISBEHAVE_ISSUE_EXPIRED},
    {"future", MISBEHAVE_ISSUE_FUTURE},
    {"long", MISBEHAVE_ISSUE_LONG},
    {"other-template", MISBEHAVE_ISSUE_OTHER_TEMPLATE},
    {NULL, 0},
};

static const struct field_word policy_words[] = {
    {"right", MISBEHAVE_POLICY_RIGHT},
    {"dangling", MISBEHAVE_POLICY_DANGLING},
    {"evil-names", MISBEHAVE_POLICY_EVIL_NAMES},
    {"empty", MISBEHAVE_POLICY_EMPTY},
    {"foreign-ces", MISBEHAVE_POLICY_FOREIGN_CES},
    {"other-id", MISBEHAVE_POLICY_OTHER_ID},
    {"duplicate", MISBEHAVE_POLICY_DUPLICATE},
    {NULL, 0},
};

#define ROW(key, type, member)                                                                                         \
    {                                                                                                                  \
        key, type, offsetof(struct misbehave, member), NULL                                                            \
    }
#define WORDS(key, member)                                                                                             \
    {                                                                                                                  \
        key, FIELD_WORD, offsetof(struct misbehave, member), member##_words                                            \
    }

static const struct field fields[] = {
    ROW("slow", FIELD_SPAN, slow),
    ROW("never-answer", FIELD_BOOL, never_answer),
    ROW("cut-answer", FIELD_BOOL, cut_answer),
    ROW("status", FIELD_U32, status),
    ROW("redirect", FIELD_TEXT, redirect),
    ROW("oversize", FIELD_U32, oversize),
    ROW("wrong-relates-to", FIELD_BOOL, wrong_relates_to),
    ROW("no-relates-to", FIELD_BOOL, no_relates_to),
    ROW("malformed", FIELD_BOOL, malformed),
    ROW("doctype", FIELD_BOOL, doctype),
    WORDS("issue", issue),
    WORDS("policy", policy),
    ROW("lose-after-issue", FIELD_BOOL, lose_after_issue),
    ROW("every", FIELD_U32, every),
};

int misbehave_set(struct misbehave *misbehave, const char *key, const char *value, struct err **errp)
{
    return field_set(fields, ARRAY_SIZE(fields), misbehave, key, value, errp);
}

void misbehave_clear(struct misbehave *misbehave)
{
    field_clear(fields, ARRAY_SIZE(fields), misbehave);
}

const struct misbehave *misbehave_turn(const struct misbehave *misbehave, uint64_t n)
{
    static const struct misbehave behaves;

    return misbehave->every < 2 || (n - 1) % misbehave->every == 0 ? misbehave : &behaves;
}
