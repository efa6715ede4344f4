// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "SamClip",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [
        .library(name: "SamClip", targets: ["SamClip"]),
        .library(name: "SamClipCoreML", targets: ["SamClipCoreML"]),
    ],
    targets: [
        .target(name: "SamClip"),
        .target(name: "SamClipCoreML", dependencies: ["SamClip"]),
        .testTarget(name: "SamClipTests", dependencies: ["SamClip", "SamClipCoreML"]),
    ]
)

// Apple's systems have Core ML. Here onnxruntime is the system's library, and the tests run on it.
#if os(Linux)
package.products.append(.library(name: "SamClipOnnx", targets: ["SamClipOnnx"]))
package.targets += [
    .systemLibrary(
        name: "COnnxRuntime", pkgConfig: "libonnxruntime",
        providers: [.apt(["libonnxruntime-dev"])]),
    .target(name: "SamClipOnnx", dependencies: ["SamClip", "COnnxRuntime"]),
]
package.targets.first { $0.isTest }?.dependencies.append("SamClipOnnx")
#endif
