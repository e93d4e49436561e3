// Ages the largest face of a photo, on a server or in an app: try await age(photo, to: "60+", key: key, host: "faces.example")

import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2
import GRPCProtobuf
import SwiftProtobuf

let patience = Duration.seconds(20)
let maxMessageBytes = 64 << 20  // several photos pass gRPC's 4 MiB
let maxAttempts = 5

/// Why a photo was not aged, for the user.
enum AgeingError: Error {
  case noFace
  case otherPhotoNeeded(String)
  case failed(reason: String)
}

/// Returns the photo with its largest face at an age group. The types Dorian_V1_… come from face_aging.proto.
func age(_ photo: Data, to group: String, key: String, host: String) async throws -> Data {
  let transport = try HTTP2ClientTransport.Posix(
    target: .dns(host: host, port: 50051),
    transportSecurity: .tls  // the key is never sent without TLS
  )
  var options = CallOptions.defaults
  options.timeout = patience
  options.maxRequestMessageBytes = maxMessageBytes
  options.maxResponseMessageBytes = maxMessageBytes

  var request = Dorian_V1_AgeTransformRequest()
  request.image.data = photo
  request.targets = [.with { $0.group = group }]
  request.faces = [.with { $0.largest = true }]
  let message = request
  let settings = options

  return try await withGRPCClient(transport: transport) { client in
    let stub = Dorian_V1_FaceAging.Client(wrapping: client)
    let end = ContinuousClock.now + patience
    for attempt in 1...maxAttempts {
      do {
        let response = try await stub.ageTransform(
          message,
          metadata: ["authorization": "Bearer \(key)"],
          options: settings
        )
        return response.results[0].image.data
      } catch let error as RPCError {
        guard let delay = try retryDelay(error), attempt < maxAttempts, ContinuousClock.now + delay < end else {
          throw try explain(error)
        }
        try await Task.sleep(for: delay)
      }
    }
    throw AgeingError.failed(reason: "UNKNOWN")
  }
}

/// Returns how long the server asks to wait, if it is busy and says so.
func retryDelay(_ error: RPCError) throws -> Duration? {
  guard error.code == .resourceExhausted, let status = try error.unpackGoogleRPCStatus() else { return nil }
  for detail in status.details {
    if let retry = detail.retryInfo {
      return retry.delay
    }
  }
  return nil
}

/// Turns the server's reason into what to tell the user; decide by reasons, never by messages.
func explain(_ error: RPCError) throws -> AgeingError {
  for detail in try error.unpackGoogleRPCStatus()?.details ?? [] {
    guard let info = detail.errorInfo, info.domain == "dorian.v1" else { continue }
    switch info.reason {
    case "NO_FACE":
      return .noFace
    case "IMAGE_UNREADABLE", "IMAGE_TOO_LARGE", "IMAGE_TOO_SMALL":
      return .otherPhotoNeeded(error.message)
    default:
      return .failed(reason: info.reason)
    }
  }
  return .failed(reason: "\(error.code)")
}
