// describe: what the plugin tells the host about itself, once.
#pragma once
#include <initializer_list>
#include <string_view>

#include "plugins/sdk/describe.hpp"

namespace headgate::sqlite {

using sdk::describe_verb;
using sdk::VerbEntry;

// The lanes' list.
void describe_lanes(proto::Writer& w);

// A kind's entry as a describe_<kind> function wrote it, with the verbs that the driver answers for
// every kind (ping, describe, batch, explain, backup) added where they are missing.
void describe_kind(proto::Writer& w, void (*kind)(proto::Writer&));

}  // namespace headgate::sqlite
