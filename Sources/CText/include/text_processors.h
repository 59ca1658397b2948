// How many processors the process may run on, by its affinity: what Swift's modules of the C
// library leave out.

#ifndef TEXT_PROCESSORS_H
#define TEXT_PROCESSORS_H

// 1 or more.
int text_processors(void);

#endif
