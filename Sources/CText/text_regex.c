// Regular expressions by Oniguruma.

#include "text_regex.h"

#include <oniguruma.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct text_regex {
  regex_t *regex;
};

struct text_regex_search {
  OnigRegion *region;
  OnigMatchParam *parameters;
};

// How often a search may go back and try otherwise. Patterns of tokenizers do so a few times a
// character.
enum { most_retries_in_match = 10000000, most_retries_in_search = 100000000 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int started;

static void start(void) {
  OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
  started = onig_initialize(encodings, 1);
}

text_regex *text_regex_make(const unsigned char *pattern, size_t length,
                            char message[text_regex_message_length]) {
  pthread_once(&once, start);
  memset(message, 0, text_regex_message_length);
  text_regex *result = malloc(sizeof *result);
  if (!result || started != ONIG_NORMAL) {
    strcpy(message, "no memory");
    free(result);
    return NULL;
  }
  OnigErrorInfo info;
  int code = onig_new(&result->regex, pattern, pattern + length, ONIG_OPTION_NONE,
                      ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
  if (code == ONIG_NORMAL) return result;
  // A message has at most ONIG_MAX_ERROR_MESSAGE_LEN (90) bytes.
  onig_error_code_to_str((OnigUChar *)message, code, &info);
  free(result);
  return NULL;
}

void text_regex_free(text_regex *regex) {
  if (!regex) return;
  onig_free(regex->regex);
  free(regex);
}

text_regex_search *text_regex_search_make(void) {
  text_regex_search *search = calloc(1, sizeof *search);
  if (!search) return NULL;
  search->region = onig_region_new();
  search->parameters = onig_new_match_param();
  if (!search->region || !search->parameters) {
    text_regex_search_free(search);
    return NULL;
  }
  onig_initialize_match_param(search->parameters);
  onig_set_retry_limit_in_match_of_match_param(search->parameters, most_retries_in_match);
  onig_set_retry_limit_in_search_of_match_param(search->parameters, most_retries_in_search);
  return search;
}

void text_regex_search_free(text_regex_search *search) {
  if (!search) return;
  if (search->region) onig_region_free(search->region, 1);
  if (search->parameters) onig_free_match_param(search->parameters);
  free(search);
}

int text_regex_find(const text_regex *regex, text_regex_search *search, const unsigned char *text,
                    size_t length, size_t from, size_t *start, size_t *end) {
  int code = onig_search_with_param(regex->regex, text, text + length, text + from, text + length,
                                    search->region, ONIG_OPTION_NONE, search->parameters);
  if (code == ONIG_MISMATCH) return 0;
  if (code < 0) return -1;
  *start = search->region->beg[0];
  *end = search->region->end[0];
  return 1;
}
