// One view for each tag; the fuzzer of the same door uses it too (tests/fuzz/postgres_wire.cpp).
#include "tests/unit/postgres_wire/support.hpp"

namespace headgate::postgres::wire::test {

void read_any(const Message& m) {
  switch (m.tag) {
    case Tag::row_description: {
      RowDescription d(m.payload);
      Field f;
      while (d.next(&f)) {
      }
      return;
    }
    case Tag::data_row: {
      DataRow d(m.payload);
      DataRow::Value v;
      while (d.next(&v)) {
      }
      return;
    }
    case Tag::parameter_description: {
      const ParameterDescription p(m.payload);
      for (std::size_t i = 0; i < p.count(); ++i) (void)p.type(i);
      return;
    }
    case Tag::command_complete:
      (void)read_command_complete(m.payload);
      return;
    case Tag::error_response:
    case Tag::notice_response:
      (void)read_notice(m.payload);
      return;
    case Tag::ready_for_query:
      (void)read_ready_for_query(m.payload);
      return;
    case Tag::parameter_status:
      (void)read_parameter_status(m.payload);
      return;
    case Tag::notification_response:
      (void)read_notification(m.payload);
      return;
    case Tag::copy_in_response:
    case Tag::copy_out_response:
    case Tag::copy_both_response:
      (void)read_copy_response(m.payload);
      return;
    case Tag::backend_key_data:
      (void)read_backend_key(m.payload);
      return;
    case Tag::negotiate_protocol_version:
      (void)read_negotiate_protocol_version(m.payload);
      return;
    case Tag::authentication:
    case Tag::copy_data:
    case Tag::function_call_response:
      return;
    default:
      return read_empty(m);
  }
}

}  // namespace headgate::postgres::wire::test
