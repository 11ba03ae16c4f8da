/* opt.h - values that may be absent. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* {0} is absent. Absent and nil read alike [MS-XCEP 3.2]; 0 is a value. */
struct opt_bool {
    bool set;
    bool value;
};
struct opt_u32 {
    bool set;
    uint32_t value;
};
struct opt_i32 {
    bool set;
    int32_t value;
};
struct opt_u64 {
    bool set;
    uint64_t value;
};
struct opt_time {
    bool set;
    int64_t value; /* seconds since 1970, UTC */
};
