// The C++ client of Headgate, all of it.
//
//   headgate::Client gateway;
//   auto orders = gateway.sql("orders");
//   for (auto& [id, total] : orders.query<std::tuple<std::int64_t, double>>(
//            "select id, total from orders where customer = ?", 42))
//     ...
//   auto tx = orders.transaction();       // rolled back unless committed
//   tx.execute("update stock set n = n - 1 where item = ?", item);
//   tx.commit();
#pragma once
#include "headgate/connection.hpp"
#include "headgate/documents.hpp"
#include "headgate/error.hpp"
#include "headgate/key_value.hpp"
#include "headgate/listen.hpp"
#include "headgate/sql.hpp"
#include "headgate/value.hpp"
