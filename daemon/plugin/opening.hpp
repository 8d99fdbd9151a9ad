// The two jobs of the connect threads: open a store's driver, open a connection.
//
// Owner:   itself, from add() until deliver() has returned. Threads: work() on a connect thread,
//          deliver() on the loop.
#pragma once
#include "daemon/plugin/plugin_store.hpp"

namespace headgate::plugin {

struct DriverJob final : Job, Inbox::Node {
  void work() override;
  void deliver() override;

  std::shared_ptr<StoreCore> core;
  PluginStore* store = nullptr;  // null: it is gone
  std::uint32_t kind = 0;
  std::vector<std::uint8_t> options;
  hg_driver* driver = nullptr;
  Fault why_not;
};

struct OpenJob final : Job, Inbox::Node {
  void work() override;
  void deliver() override;

  std::shared_ptr<StoreCore> core;
  OpenRequest request;
  std::string endpoint;  // its address, or empty
  hg_conn_id id = 0;
  bool has_thread = false;  // from the budget, for a blocking lane
  bool closing = false;     // second trip: nobody wanted the connection, close it
  hg_connection* connection = nullptr;
  std::int32_t fd = -1;
  std::string label;  // the credential's name
  Fault why_not;
};

// Calls driver_open. Any thread that may block.
hg_driver* open_driver(StoreCore& core, std::uint32_t kind, proto::Bytes options, Fault* why_not);

}  // namespace headgate::plugin
