// How far a front in C++ would be: a server of the same proto that answers DoStep and Run from an MLP 12-64-64-4 in plain C++, without
// sessions, numbers, tokens or a store. Prints its port, and serves until its input ends.

#include <array>
#include <cmath>
#include <cstdio>
#include <random>
#include <string>

#include <grpcpp/grpcpp.h>

#include "surrogate_fmu/v1/surrogate.grpc.pb.h"

namespace v1 = surrogate_fmu::v1;

namespace {

constexpr int kInputs = 12, kLatents = 4, kWidth = 64, kOutputs = 4;

struct Network {
  std::array<float, (kInputs + kLatents) * kWidth> first;
  std::array<float, kWidth * kWidth> second;
  std::array<float, kWidth * kOutputs> third;

  Network() {
    std::mt19937 generator(0);
    std::normal_distribution<float> draw(0.0f, 0.1f);
    for (float& w : first) w = draw(generator);
    for (float& w : second) w = draw(generator);
    for (float& w : third) w = draw(generator);
  }

  void step(const float* x, float* y) const {
    float one[kWidth] = {0}, two[kWidth] = {0};
    for (int k = 0; k < kInputs + kLatents; ++k)
      for (int j = 0; j < kWidth; ++j) one[j] += x[k] * first[k * kWidth + j];
    for (float& v : one) v = std::tanh(v);
    for (int k = 0; k < kWidth; ++k)
      for (int j = 0; j < kWidth; ++j) two[j] += one[k] * second[k * kWidth + j];
    for (float& v : two) v = std::tanh(v);
    for (int j = 0; j < kOutputs; ++j) y[j] = 0.0f;
    for (int k = 0; k < kWidth; ++k)
      for (int j = 0; j < kOutputs; ++j) y[j] += two[k] * third[k * kOutputs + j];
  }
};

class Front final : public v1::Surrogate::Service {
  grpc::Status DoStep(grpc::ServerContext*, const v1::DoStepRequest* request, v1::DoStepResponse* reply) override {
    answer(*request, reply);
    return grpc::Status::OK;
  }

  grpc::Status Run(grpc::ServerContext*, grpc::ServerReaderWriter<v1::DoStepResponse, v1::DoStepRequest>* stream) override {
    v1::DoStepRequest request;
    while (stream->Read(&request)) {
      v1::DoStepResponse reply;
      answer(request, &reply);
      stream->Write(reply);
    }
    return grpc::Status::OK;
  }

  void answer(const v1::DoStepRequest& request, v1::DoStepResponse* reply) const {
    float x[kInputs + kLatents] = {0}, y[kOutputs];
    for (int k = 0; k < kInputs; ++k) {
      const auto found = request.inputs().find("x" + std::to_string(k + 1));
      if (found != request.inputs().end()) x[k] = static_cast<float>(found->second.elements(0));
    }
    network_.step(x, y);
    v1::CommunicationPoint* point = reply->mutable_point();
    point->set_step_index(request.step_number());
    point->set_in_domain(true);
    for (int j = 0; j < kOutputs; ++j) (*point->mutable_outputs())["y" + std::to_string(j + 1)].add_elements(y[j]);
  }

  Network network_;
};

}  // namespace

int main() {
  Front front;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&front);
  const auto server = builder.BuildAndStart();
  std::printf("%d\n", port);
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  server->Shutdown();
  return 0;
}
