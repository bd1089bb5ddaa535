// A client in another language: one session, stepped exactly once per step, whatever happens to the server.
//
//   cell HOST:PORT MODEL INPUT STEPS [MILLISECONDS]
//
// Prints a line per step with the outputs. It sets the input INPUT to a wave in its unit, pauses so long between steps, and goes on
// when the server is restarted: it keeps the last resume token and the steps since then, and opens the session anew with them.
// This is all that a client has to do; the Python client does the same.

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "surrogate_fmu/v1/surrogate.grpc.pb.h"

namespace v1 = surrogate_fmu::v1;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::chrono::seconds kPatience{60};
constexpr std::chrono::seconds kDeadline{10};

// 32 characters that nobody guesses: who knows a session's id may step it.
std::string random_id() {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::random_device device;
  std::string id;
  while (id.size() < 32) id += letters[device() % 64];
  return id;
}

class Session {
 public:
  Session(const std::string& target, const std::string& model)
      : stub_(v1::Surrogate::NewStub(grpc::CreateChannel(target, grpc::InsecureChannelCredentials()))) {
    opening_.set_session_id(random_id());  // chosen here, so that Open may be repeated
    opening_.set_model_name(model);
    opening_.set_seed(7);
    insist([this] { return open(); });
  }

  // One step; returns when the server has taken it, once.
  v1::DoStepResponse step(const std::string& input, double value) {
    v1::DoStepRequest request;
    request.set_session_id(opening_.session_id());
    request.set_step_number(step_index_ + 1);
    (*request.mutable_inputs())[input].add_elements(value);
    v1::DoStepResponse reply;
    insist([&] { return call(request, &reply); });
    step_index_ = reply.point().step_index();
    if (reply.resume_token().empty()) {
      since_token_.push_back(request);
    } else {
      opening_.set_resume_token(reply.resume_token());
      since_token_.clear();
    }
    return reply;
  }

  void close() {
    v1::CloseRequest request;
    request.set_session_id(opening_.session_id());
    v1::CloseResponse reply;
    insist([&] {
      grpc::ClientContext context;
      limit(&context);
      return noted(stub_->Close(&context, request, &reply), context);
    });
  }

  int recoveries() const { return recoveries_; }

 private:
  static void limit(grpc::ClientContext* context) { context->set_deadline(std::chrono::system_clock::now() + kDeadline); }

  grpc::Status call(const v1::DoStepRequest& request, v1::DoStepResponse* reply) {
    grpc::ClientContext context;
    limit(&context);
    return noted(stub_->DoStep(&context, request, reply), context);
  }

  // Opens the session, or finds it again; then takes the steps once more that a lost server had taken since the last token.
  grpc::Status open() {
    grpc::ClientContext context;
    limit(&context);
    v1::OpenResponse reply;
    grpc::Status status = noted(stub_->Open(&context, opening_, &reply), context);
    if (!status.ok()) return status;
    if (opening_.resume_token().empty()) opening_.set_resume_token(reply.resume_token());
    for (const v1::DoStepRequest& request : since_token_) {
      if (request.step_number() <= reply.point().step_index()) continue;
      v1::DoStepResponse again;
      status = call(request, &again);
      if (!status.ok()) return status;
    }
    return status;
  }

  // Keeps the class of the service's error, which comes beside the status; empty where gRPC itself refused.
  grpc::Status noted(const grpc::Status& status, const grpc::ClientContext& context) {
    const auto& found = context.GetServerTrailingMetadata().find("surrogate-fmu-error");
    error_ = status.ok() || found == context.GetServerTrailingMetadata().end()
                 ? ""
                 : std::string(found->second.data(), found->second.size());
    return status;
  }

  // Tries until the call succeeds, as every call may be repeated; a session that is gone, or that a server lost again while it
  // was being brought back, is brought back first.
  template <typename Call>
  void insist(Call call) {
    const auto end = Clock::now() + kPatience;
    std::mt19937 generator{std::random_device{}()};
    double longest_ms = 50.0;
    for (grpc::Status status = call(); !status.ok(); status = call()) {
      const grpc::StatusCode code = status.error_code();
      const bool gone = code == grpc::StatusCode::NOT_FOUND || error_ == "StepGapError";
      // a service that is full says so by name; gRPC's own RESOURCE_EXHAUSTED is a message that is too large for ever
      const bool later = code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::DEADLINE_EXCEEDED ||
                         error_ == "ServiceFullError" || error_ == "ConcurrentCallError";
      if (!(gone || later) || Clock::now() > end) {
        std::fprintf(stderr, "error %d: %s\n", static_cast<int>(code), status.error_message().c_str());
        std::exit(1);
      }
      ++recoveries_;
      const double pause_ms = std::uniform_real_distribution<double>(0.0, longest_ms)(generator);
      std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(pause_ms));
      longest_ms = std::min(2.0 * longest_ms, 1000.0);
      if (gone) open();  // if that fails too, the next round tries again
    }
  }

  std::unique_ptr<v1::Surrogate::Stub> stub_;
  v1::OpenRequest opening_;
  std::vector<v1::DoStepRequest> since_token_;
  std::int64_t step_index_ = 0;
  std::string error_;
  int recoveries_ = 0;
};

}  // namespace

int main(int count, char** words) {
  if (count < 5) {
    std::fprintf(stderr, "usage: cell HOST:PORT MODEL INPUT STEPS [MILLISECONDS]\n");
    return 2;
  }
  const int steps = std::atoi(words[4]), pause_ms = count > 5 ? std::atoi(words[5]) : 0;
  Session session(words[1], words[2]);
  for (int step = 0; step < steps; ++step) {
    const v1::DoStepResponse reply = session.step(words[3], 2.0 + std::sin(step / 5.0));
    std::printf("%lld", static_cast<long long>(reply.point().step_index()));
    for (const char* name : {"voltage", "temperature", "flow"}) {
      const auto found = reply.point().outputs().find(name);
      if (found != reply.point().outputs().end()) std::printf(" %s=%.17g", name, found->second.elements(0));
    }
    std::printf("\n");
    std::fflush(stdout);
    std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms));
  }
  session.close();
  std::fprintf(stderr, "%d calls were repeated\n", session.recoveries());
  return 0;
}
