#include "ck_team.h"
