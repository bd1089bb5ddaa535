/* Sentences to the host, by category. */
#include <float.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "session.h"

/* In the order of sf_status; the names stand in the model description. */
static const char *const CATEGORIES[] = {"logAll", "logStatusWarning", "logStatusDiscard", "logStatusError", "logStatusFatal"};
enum { CATEGORY_COUNT = sizeof CATEGORIES / sizeof CATEGORIES[0] };

void sf_say(sf_session *s, sf_status status, const char *message)
{
    if (s->log && !(s->muted >> status & 1u))
        s->log(s->log_owner, status, CATEGORIES[status], message);
}

sf_status sf_refuse(sf_session *s, sf_status status, const char *error_class, const char *format, ...)
{
    const int length = snprintf(s->sentence, sizeof s->sentence, "%s: ", error_class);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(s->sentence + length, sizeof s->sentence - (size_t)length, format, arguments);
    va_end(arguments);
    sf_say(s, status, s->sentence);
    return status;
}

sf_status sf_set_logging(sf_session *s, bool on, size_t count, const char *const categories[])
{
    uint32_t chosen = count ? 0u : ~0u;
    for (size_t i = 0; i < count; i++) {
        int known = 0;
        for (uint32_t c = 0; c < CATEGORY_COUNT && categories && categories[i]; c++)
            if (strcmp(categories[i], CATEGORIES[c]) == 0) {
                chosen |= c ? 1u << c : ~0u;
                known = 1;
            }
        if (!known)
            return sf_refuse(s, SF_ERROR, "InputError", "there is no log category %s; see the modelDescription.xml",
                             categories && categories[i] ? categories[i] : "NULL");
    }
    s->muted = on ? s->muted & ~chosen : s->muted | chosen;
    return SF_OK;
}
