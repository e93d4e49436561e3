// Command age ages the largest face of a photo: DORIAN_API_KEY=… age faces.example:50051 photo.jpg 60+ older.jpg
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "example.com/app/dorian/v1" // from face_aging.proto, by protoc-gen-go and protoc-gen-go-grpc
)

const (
	patience    = 20 * time.Second
	maxMessage  = 64 << 20 // several photos pass gRPC's 4 MiB
	maxAttempts = 5
)

func main() {
	address, photo, group, out := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	connection, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{})), // the key is never sent without TLS
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()

	data, err := os.ReadFile(photo)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+os.Getenv("DORIAN_API_KEY"))
	response, err := age(ctx, pb.NewFaceAgingClient(connection), &pb.AgeTransformRequest{
		Image:   &pb.Image{Data: data},
		Targets: []*pb.Age{{Kind: &pb.Age_Group{Group: group}}},
		Faces:   []*pb.FaceSelector{{Kind: &pb.FaceSelector_Largest{Largest: true}}},
	})
	if err != nil {
		log.Fatal(explain(err))
	}
	if err := os.WriteFile(out, response.GetResults()[0].GetImage().GetData(), 0o644); err != nil {
		log.Fatal(err)
	}
}

// age sends a request, and sends it again after the time that a busy server names, while the deadline allows.
func age(ctx context.Context, client pb.FaceAgingClient, request *pb.AgeTransformRequest) (*pb.AgeTransformResponse, error) {
	for attempt := 1; ; attempt++ {
		response, err := client.AgeTransform(ctx, request)
		delay, isBusy := retryDelay(err)
		if err == nil || !isBusy || attempt == maxAttempts {
			return response, err
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// retryDelay returns how long the server asks to wait, if it is busy and says so.
func retryDelay(err error) (time.Duration, bool) {
	if status.Code(err) != codes.ResourceExhausted {
		return 0, false
	}
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			return retry.GetRetryDelay().AsDuration(), true
		}
	}
	return 0, false
}

// explain turns the server's reason into what to tell the user; decide by reasons, never by messages.
func explain(err error) error {
	for _, detail := range status.Convert(err).Details() {
		info, ok := detail.(*errdetails.ErrorInfo)
		if !ok || info.GetDomain() != "dorian.v1" {
			continue
		}
		switch info.GetReason() {
		case "NO_FACE":
			return errors.New("take a photo with a face")
		case "IMAGE_UNREADABLE", "IMAGE_TOO_LARGE", "IMAGE_TOO_SMALL":
			return fmt.Errorf("choose another photo: %s", status.Convert(err).Message())
		default:
			return fmt.Errorf("%s: %w", info.GetReason(), err)
		}
	}
	return err
}
