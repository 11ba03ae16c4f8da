/* ces.h - the enrollment server: Issue, QueryTokenStatus and KET. */
#pragma once

#include "server-ref/server.h"

/* Answers a RequestSecurityToken, [MS-WSTEP notes] 6.1 from check 6 on. 0, FAULT or -1. */
int ces_handle(const struct server_call *call, struct bytes *body, struct fault *fault, struct err **errp);
