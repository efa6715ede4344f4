plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
    alias(libs.plugins.kotlin.compose)
}

kotlin {
    jvmToolchain(17)
}

android {
    namespace = "samclip.app"
    compileSdk = 36
    defaultConfig {
        applicationId = "samclip.app"
        minSdk = 28
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
        ndk {
            abiFilters += "arm64-v8a" // an emulator on a PC needs "x86_64" too
        }
    }
    buildFeatures {
        compose = true
    }
    sourceSets["main"].assets.srcDir(layout.buildDirectory.dir("bundle"))
}

// What text-to-mask reads of the bundle, in fp32: no goldens, no other precision, no graph of other skills.
val bundle by tasks.registering(Sync::class) {
    from("../../../samclip_sdk/bundle/embedded/samclip-mobile") {
        include("manifest.json", "NOTICE", "tokenizer.json", "nouns.safetensors", "words.json")
        include("onnx/letterbox_576.onnx", "onnx/image_encoder_576.onnx", "onnx/text_to_mask_576.onnx")
        include("onnx/text_encoder.onnx", "onnx/*fp32*.weights")
    }
    into(layout.buildDirectory.dir("bundle/samclip-mobile"))
}
tasks.named("preBuild") { dependsOn(bundle) }

dependencies {
    implementation(project(":samclip-android"))
    implementation(platform(libs.compose.bom))
    implementation(libs.activity.compose)
    implementation(libs.camera.camera2)
    implementation(libs.camera.view)
    implementation(libs.compose.material3)
    implementation(libs.lifecycle.runtime.compose)
}
