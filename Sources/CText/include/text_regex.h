// Regular expressions over UTF-8 by Oniguruma, as far as tokenizers need them: where the next match
// begins and ends.
//
// Swift cannot call the library's functions with variable arguments, nor its macros that cast. What
// is matched must be valid UTF-8. A search that retries too often is given up, so that no pattern
// runs without end.

#ifndef TEXT_REGEX_H
#define TEXT_REGEX_H

#include <stddef.h>

// A compiled pattern. Threads may share one.
typedef struct text_regex text_regex;

// What a search needs besides the pattern; of one thread.
typedef struct text_regex_search text_regex_search;

enum { text_regex_message_length = 200 };

// Compiles a pattern in UTF-8. NULL where it is none, or there is no memory: `message` says why.
text_regex *text_regex_make(const unsigned char *pattern, size_t length,
                            char message[text_regex_message_length]);
void text_regex_free(text_regex *regex);

// NULL where there is no memory.
text_regex_search *text_regex_search_make(void);
void text_regex_search_free(text_regex_search *search);

// The first match that begins at byte `from` or later: 1 where there is one, 0 where there is none,
// -1 where it was given up.
int text_regex_find(const text_regex *regex, text_regex_search *search, const unsigned char *text,
                    size_t length, size_t from, size_t *start, size_t *end);

#endif
