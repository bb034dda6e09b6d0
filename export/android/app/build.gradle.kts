plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "org.ganzoo.generator"
    compileSdk = 35
    defaultConfig {
        applicationId = "org.ganzoo.generator"
        minSdk = 26 // android.util.Half
        targetSdk = 35
        versionCode = 1
        versionName = "1.0"
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }
    androidResources { noCompress += "tflite" }
}

dependencies {
    implementation("com.google.ai.edge.litert:litert:2.3.0") // pinned: its libraries are aligned for pages of 16 KB
    implementation("com.google.ai.edge.litert:litert-gpu:2.3.0")
}
