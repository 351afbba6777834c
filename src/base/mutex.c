#include "base/mutex.h"

__thread bool bm_mutex_holds_all;
