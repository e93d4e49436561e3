// Ages the largest face of a photo: DORIAN_API_KEY=… age faces.example photo.jpg 60+ older.jpg

import com.google.protobuf.ByteString
import com.google.protobuf.util.Durations
import com.google.rpc.ErrorInfo
import com.google.rpc.RetryInfo
import dorian.v1.FaceAgingGrpcKt.FaceAgingCoroutineStub // from face_aging.proto, by protoc-gen-grpc-kotlin
import dorian.v1.FaceAgingOuterClass.AgeTransformRequest
import dorian.v1.FaceAgingOuterClass.AgeTransformResponse
import dorian.v1.age
import dorian.v1.ageTransformRequest
import dorian.v1.faceSelector
import dorian.v1.image
import io.grpc.ManagedChannel
import io.grpc.ManagedChannelBuilder
import io.grpc.Metadata
import io.grpc.Status
import io.grpc.StatusException
import io.grpc.protobuf.StatusProto
import java.io.File
import java.util.concurrent.TimeUnit
import kotlinx.coroutines.delay
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout

const val PATIENCE_MS = 20_000L
const val MAX_MESSAGE = 64 shl 20 // several photos pass gRPC's 4 MiB
const val MAX_ATTEMPTS = 5
val AUTHORIZATION: Metadata.Key<String> = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER)

fun main(arguments: Array<String>) = runBlocking {
    val (host, photo, label, out) = arguments
    val channel: ManagedChannel = ManagedChannelBuilder.forAddress(host, 50051)
        .useTransportSecurity() // the key is never sent without TLS
        .maxInboundMessageSize(MAX_MESSAGE)
        .build()
    val key = Metadata().apply { put(AUTHORIZATION, "Bearer ${System.getenv("DORIAN_API_KEY")}") }
    val request = ageTransformRequest {
        image = image { data = ByteString.copyFrom(File(photo).readBytes()) }
        targets += age { group = label }
        faces += faceSelector { largest = true }
    }
    try {
        val response = withTimeout(PATIENCE_MS) { ageTransform(FaceAgingCoroutineStub(channel), request, key) }
        File(out).writeBytes(response.getResults(0).image.data.toByteArray())
    } catch (error: StatusException) {
        println(explain(error))
    } finally {
        channel.shutdownNow()
    }
}

/** Sends a request, and sends it again after the time that a busy server names; the server knows the deadline. */
suspend fun ageTransform(stub: FaceAgingCoroutineStub, request: AgeTransformRequest, key: Metadata): AgeTransformResponse {
    val within = stub.withDeadlineAfter(PATIENCE_MS, TimeUnit.MILLISECONDS)
    for (attempt in 1 until MAX_ATTEMPTS) {
        try {
            return within.ageTransform(request, key)
        } catch (error: StatusException) {
            delay(retryDelay(error) ?: throw error)
        }
    }
    return within.ageTransform(request, key)
}

/** Returns the milliseconds that the server asks to wait, if it is busy and says so. */
fun retryDelay(error: StatusException): Long? {
    if (error.status.code != Status.Code.RESOURCE_EXHAUSTED) return null
    val packed = details(error).firstOrNull { it.`is`(RetryInfo::class.java) } ?: return null
    return Durations.toMillis(packed.unpack(RetryInfo::class.java).retryDelay)
}

/** Turns the server's reason into what to tell the user; decide by reasons, never by messages. */
fun explain(error: StatusException): String {
    val packed = details(error).firstOrNull { it.`is`(ErrorInfo::class.java) }
    val info = packed?.unpack(ErrorInfo::class.java)?.takeIf { it.domain == "dorian.v1" }
    return when (info?.reason) {
        "NO_FACE" -> "take a photo with a face"
        "IMAGE_UNREADABLE", "IMAGE_TOO_LARGE", "IMAGE_TOO_SMALL" -> "choose another photo: ${error.status.description}"
        else -> "${info?.reason ?: error.status.code}: ${error.status.description}"
    }
}

fun details(error: StatusException): List<com.google.protobuf.Any> = StatusProto.fromThrowable(error)?.detailsList.orEmpty()
