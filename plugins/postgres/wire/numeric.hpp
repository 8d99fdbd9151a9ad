// numeric: the constants of PostgreSQL's binary form (src/backend/utils/adt/numeric.c), both ways.
#pragma once
#include <cstdint>

namespace headgate::postgres::wire {

inline constexpr std::uint16_t kNumericPositive = 0x0000;
inline constexpr std::uint16_t kNumericNegative = 0x4000;
inline constexpr std::uint16_t kNumericNan = 0xc000;
inline constexpr std::uint16_t kNumericInfinity = 0xd000;
inline constexpr std::uint16_t kNumericMinusInfinity = 0xf000;
inline constexpr std::uint16_t kNumericScaleMax = 16'383;    // digits after the point
inline constexpr std::int32_t kNumericIntegerMax = 131'072;  // digits before it

}  // namespace headgate::postgres::wire
