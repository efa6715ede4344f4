// swift-tools-version: 5.9
import AppleProductTypes
import PackageDescription

let package = Package(
    name: "SamClipDemo",
    platforms: [.iOS("17.0")],
    products: [
        .iOSApplication(
            name: "SamClipDemo",
            targets: ["AppModule"],
            bundleIdentifier: "org.example.samclip-demo",
            displayVersion: "1.0",
            bundleVersion: "1",
            appIcon: .placeholder(icon: .images),
            accentColor: .presetColor(.orange),
            supportedDeviceFamilies: [.pad, .phone],
            supportedInterfaceOrientations: [.portrait, .landscapeLeft, .landscapeRight],
            capabilities: [.camera(purposeString: "Photos are searched on this device alone.")]
        )
    ],
    dependencies: [.package(path: "../../SamClip")],
    targets: [
        .executableTarget(
            name: "AppModule",
            dependencies: [
                .product(name: "SamClip", package: "SamClip"),
                .product(name: "SamClipCoreML", package: "SamClip"),
            ],
            path: ".",
            // The bundle's folder, copied here: see README.md.
            resources: [.copy("samclip-mobile")]
        )
    ]
)
